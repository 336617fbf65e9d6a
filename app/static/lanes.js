// The three columns of the board and what lies in them.
import { project } from './commands.js';
import { all, one } from './dom.js';
import { steady } from './steady.js';
import { ageKey, begins, ticketOf } from './ticket.js';

const LANES = ['placed', 'in_progress', 'ready'];
const FRESH = 20_000; // how long a new ticket is marked, in milliseconds
const REMEMBERED = 500;

/**
 * lanes keeps the orders of the board and draws them. pending() are the waiting commands, act(type, order) is called for a
 * tap, arrived(order) for an order that was not there before, usual(line, option) tells what an item has by itself.
 */
export function lanes({ pending, act, arrived, usual }) {
  const orders = new Map();
  const left = new Map(); // version and lane of orders that went, so that an older answer does not bring them back
  const notices = new Map();
  const fresh = new Map();
  const drawn = new Map();
  let skew = 0; // how far the shop's clock is ahead of this one
  let begun = false;

  const now = () => Date.now() + skew;

  function put(order) {
    const known = orders.get(order.id)?.version ?? left.get(order.id)?.version ?? 0;
    if (order.version < known) return;
    if (!LANES.includes(order.status)) return leave(order);
    if (begun && !orders.has(order.id) && order.status === 'placed' && !left.has(order.id)) {
      fresh.set(order.id, Date.now() + FRESH);
      arrived(order);
    }
    left.delete(order.id);
    orders.set(order.id, order);
  }

  function leave(order) {
    const known = orders.get(order.id);
    const lane = known?.gone ?? known?.status ?? left.get(order.id)?.lane ?? 'placed';
    left.set(order.id, { version: order.version, lane });
    if (left.size > REMEMBERED) left.delete(left.keys().next().value);
    if (notices.has(order.id)) orders.set(order.id, { ...order, gone: lane });
    else orders.delete(order.id);
  }

  function board(snapshot) {
    skew = new Date(snapshot.as_of) - Date.now();
    const there = new Set(snapshot.orders.map((order) => order.id));
    const waiting = new Set(pending().map((command) => command.order));
    for (const [id, order] of orders) {
      if (there.has(id) || waiting.has(id)) continue;
      if (notices.has(id)) orders.set(id, { ...order, gone: order.gone ?? order.status });
      else orders.delete(id);
    }
    snapshot.orders.forEach(put);
    begun = true;
  }

  const draw = steady(() => {
    const waiting = byOrder(pending());
    const focus = document.activeElement?.closest?.('.ticket') && { id: document.activeElement.closest('.ticket').dataset.order, act: document.activeElement.dataset.act };
    const rows = { placed: [], in_progress: [], ready: [] };
    const live = new Set();
    for (const order of [...orders.values()].sort(byAge)) {
      const shown = project(order, waiting.get(order.id) ?? [], now());
      const lane = order.gone ?? shown.status;
      if (!LANES.includes(lane)) continue;
      rows[lane].push(elementOf(shown));
      live.add(order.id);
    }
    for (const id of drawn.keys()) if (!live.has(id)) drawn.delete(id);
    LANES.forEach((lane) => place(lane, rows[lane]));
    if (focus && !document.activeElement?.closest?.('.ticket')) refocus(focus);
  });

  function elementOf(order) {
    const isNew = (fresh.get(order.id) ?? 0) > Date.now();
    if (!isNew) fresh.delete(order.id);
    const notice = notices.get(order.id) ?? '';
    const key = [order.version, order.status, order.waiting, order.unsent, order.gone, notice, isNew, ageKey(order, now())].join('|');
    const known = drawn.get(order.id);
    if (known?.key === key) return known.element;
    const element = ticketOf(order, { now: now(), notice, fresh: isNew, gone: Boolean(order.gone), act, usual });
    drawn.set(order.id, { key, element });
    return element;
  }

  function place(lane, elements) {
    const box = one(`[data-lane="${lane}"]`);
    all(`[data-count="${lane}"]`).forEach((count) => { count.textContent = elements.length; });
    const staying = new Set(elements);
    [...box.children].forEach((child) => staying.has(child) || child.remove());
    elements.forEach((element, row) => { if (box.children[row] !== element) box.insertBefore(element, box.children[row] ?? null); });
  }

  return {
    put, board, draw, now,
    redraw() {
      drawn.clear();
      draw();
    },
    tell: (id, words) => words && notices.set(id, words),
    has: (id) => orders.has(id),
    dismiss(id) {
      notices.delete(id);
      fresh.delete(id);
      if (orders.get(id)?.gone) orders.delete(id);
    },
  };
}

const byAge = (a, b) => begins(a) - begins(b) || a.id.localeCompare(b.id);

function byOrder(commands) {
  const groups = new Map();
  for (const command of commands) groups.set(command.order, [...(groups.get(command.order) ?? []), command]);
  return groups;
}

// A ticket that moved takes the keyboard along. One that went gives it to no other order: whoever goes on typing meant this one.
function refocus({ id, act }) {
  const ticket = one(`.ticket[data-order="${id}"]`);
  ((ticket && (one(`[data-act="${act}"]`, ticket) ?? one('.primary', ticket))) ?? one('#lanes')).focus({ preventScroll: true });
}
