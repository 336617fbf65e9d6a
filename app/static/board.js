// The barista's board. It never looks up to date while it is not, and every tap counts, with or without a connection.
import { SOON, commandQueue, resultWords, slow } from './commands.js';
import { credential } from './credential.js';
import { all, flag, h, one } from './dom.js';
import { keep, kept } from './keep.js';
import { lanes } from './lanes.js';
import { follow } from './live.js';
import { askReason, pausing } from './pause.js';
import { soldOutList } from './sold_out.js';
import { bell, titleFlash } from './sound.js';
import { MINUTE, seconds } from './times.js';
import { usualOptions } from './usual.js';

const { store } = document.body.dataset;
const device = credential('pair', `frenchpress.device.${store}`);

function unpaired(why) {
  one('#unpaired').hidden = false;
  one('#columns').hidden = true;
  one('#tools').hidden = true;
  one('#offline').hidden = true;
  one('#live').hidden = true;
  one('#paused').hidden = true;
  all('dialog[open]').forEach((sheet) => sheet.close());
  if (why) one('#unpaired-why').textContent = why;
}

function run(token) {
  const sound = bell(one('#sound'));
  const flash = titleFlash();
  const connection = { live: false, failed: false, last: 0, ended: false };
  const queue = commandQueue(store, token, { answered, changed, refused, now: () => tickets.now() });
  const usual = usualOptions(store, () => tickets.redraw());
  const tickets = lanes({ pending: queue.pending, act, arrived, usual: usual.is });
  const parts = { push: queue.push, pending: queue.pending, now: tickets.now };
  const soldOut = soldOutList(store, parts);
  const pause = pausing(store, parts);

  function act(type, order) {
    tickets.dismiss(order.id);
    if (type === 'dismiss') return tickets.draw();
    if (type === 'cancel') return askReason(order, (reason) => push('cancel', { order: order.id, reason }));
    push(type, { order: order.id, ...(type === 'undo' && { base_version: order.version }) });
  }

  function push(type, fields) {
    if (!queue.push(type, fields)) notify('Too many taps are waiting for the connection. Please go on with paper.');
    setTimeout(changed, SOON + 100);
  }

  function answered(command, result) {
    const words = resultWords(command, result);
    if (command.order) tickets.tell(command.order, words);
    if (result.order) tickets.put(result.order);
    if (words && !tickets.has(command.order)) notify(words);
    tickets.draw();
    if (command.type === 'sold_out' || command.type === 'available') soldOut.answered(command, result);
    if (command.type === 'pause' || command.type === 'resume') pause.answered(command, result);
  }

  function changed() {
    if (connection.ended) return;
    tickets.draw();
    soldOut.draw();
    pause.draw();
    status();
  }

  function arrived(order) {
    sound.ring();
    flash(`New order ${order.number}`);
    one('#arrivals').textContent = `New order ${order.number} for ${order.customer.name}`;
  }

  function message(news) {
    const first = !connection.live;
    device.opened();
    connection.live = true;
    connection.last = Date.now();
    if (news.board) tickets.board(news.board);
    if (news.order) tickets.put(news.order);
    tickets.draw();
    status();
    if (first) {
      queue.flush();
      pause.load();
    }
  }

  function down() {
    if (connection.live) connection.last = Math.max(connection.last, stream.heard());
    connection.live = false;
    connection.failed = true;
    status();
  }

  function refused(problem) {
    if (connection.ended) return;
    connection.ended = true;
    stream.stop();
    const gone = problem.status === 404 ? 'There is no such store.' : 'This device is not let in any more. Pair it again to go on.';
    unpaired(gone);
    device.refused();
  }

  function status() {
    const waiting = queue.pending().filter((command) => !connection.live || slow(command, tickets.now())).length;
    const unsent = waiting ? `, ${waiting} ${waiting === 1 ? 'tap' : 'taps'} to send` : '';
    const lost = !connection.live && connection.failed;
    const live = one('#live');
    live.dataset.live = connection.live ? 'live' : lost ? 'lost' : 'connecting';
    live.textContent = connection.live ? `Live${unsent}` : lost ? 'Offline' : `Connecting${unsent}`;
    flag(document.body, 'data-stale', !connection.live);
    one('#offline').hidden = !lost;
    const words = `Offline – ${connection.last ? `last update ${seconds(connection.last)}` : 'nothing received yet'}${unsent}`;
    if (lost && one('#offline').textContent !== words) one('#offline').textContent = words;
  }

  one('#columns').hidden = false;
  one('#tools').hidden = false;
  one('#sold-out-open').addEventListener('click', soldOut.open);
  one('#lanes').addEventListener('keydown', (press) => press.repeat && press.key === 'Enter' && press.preventDefault()); // held, it would do the next step as well
  const stream = follow(`/v1/stores/${store}/board/live`, token, { message, down, refused });
  setInterval(tickets.draw, 5000);
  setInterval(() => connection.ended || pause.load(), MINUTE / 2);
  setInterval(() => connection.ended || usual.load(), 5 * MINUTE);
  usual.load();
  queue.flush();
  status();
}

function notify(words) {
  const box = one('#notices');
  const notice = h('p', null, words, h('button', { type: 'button', onclick: () => notice.remove() }, 'Got it'));
  box.append(notice);
  while (box.children.length > 3) box.firstElementChild.remove();
}

function themes() {
  const button = one('#theme');
  const set = (theme) => {
    document.body.dataset.theme = theme;
    button.textContent = theme === 'dark' ? 'Light' : 'Dark';
    button.setAttribute('aria-label', `Switch to the ${theme === 'dark' ? 'light' : 'dark'} theme`);
  };
  set(kept('frenchpress.theme') === 'light' ? 'light' : 'dark');
  button.addEventListener('click', () => {
    set(document.body.dataset.theme === 'dark' ? 'light' : 'dark');
    keep('frenchpress.theme', document.body.dataset.theme);
  });
}

// On a phone the columns lie side by side, and the tabs bring one into view.
function tabs() {
  const links = all('.tabs a');
  const box = one('#lanes');
  const mark = () => {
    const now = Math.round(box.scrollLeft / box.clientWidth);
    links.forEach((link, place) => (place === now ? link.setAttribute('aria-current', 'true') : link.removeAttribute('aria-current')));
  };
  links.forEach((link, place) => link.addEventListener('click', (press) => {
    press.preventDefault();
    box.scrollTo({ left: place * box.clientWidth });
  }));
  box.addEventListener('scroll', mark, { passive: true });
  mark();
}

// A board that falls asleep helps nobody.
async function stayAwake() {
  try {
    if (!document.hidden) await navigator.wakeLock?.request('screen');
  } catch {
    // Not allowed, as with a low battery.
  }
}

themes();
addEventListener('hashchange', () => location.hash.startsWith('#pair=') && location.reload()); // pairing where this page is open already
if (device.token) {
  run(device.token);
  tabs();
  stayAwake();
  document.addEventListener('visibilitychange', stayAwake);
} else {
  unpaired();
}
