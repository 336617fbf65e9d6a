// A ticket: one order as it lies on the board.
import { unitWords } from './choices.js';
import { h } from './dom.js';
import { money } from './money.js';
import { MINUTE, moment } from './times.js';

const WARM = 4;
const LATE = 8;

const at = (order, status) => order.history.findLast((step) => step.status === status)?.at;

// When a ticket begins to age, in milliseconds: an order for later does so eight minutes before its time, so that "late"
// always means that somebody is waiting.
export function begins(order) {
  const placed = new Date(order.placed_at).getTime();
  return order.pickup_at ? Math.max(placed, new Date(order.pickup_at) - LATE * MINUTE) : placed;
}

/** age is how old a ticket is: {minutes, heat, words, later}. */
function age(order, now) {
  if (order.status === 'ready') {
    const minutes = minutesSince(at(order, 'ready') ?? order.updated_at, now);
    return { minutes, heat: 'none', words: 'waiting' };
  }
  const start = begins(order);
  if (start > now) return { minutes: 0, heat: 'fresh', words: `for ${moment(order.pickup_at, now)}`, later: true };
  const minutes = minutesSince(start, now);
  const heat = minutes >= LATE ? 'late' : minutes >= WARM ? 'warm' : 'fresh';
  return { minutes, heat, words: heat };
}

const minutesSince = (start, now) => Math.max(0, Math.floor((now - new Date(start)) / MINUTE));

/** ageKey changes when the ticket has to be drawn again for its age. */
export const ageKey = (order, now) => Object.values(age(order, now)).join();

/**
 * ticketOf draws an order. act(type, order) is called for each tap; notice is what the barista has to know of it;
 * usual(line, option) tells what an item has by itself.
 */
export function ticketOf(order, { now, notice, fresh, gone, act, usual }) {
  return h('article', { class: 'ticket', 'data-order': order.id, 'data-new': fresh, 'data-gone': gone, 'data-waiting': order.waiting, 'aria-label': `Order ${order.number} for ${order.customer.name}` },
    top(order, now),
    h('ul', { class: 'ticket-lines' }, order.lines.map((line) => lineOf(line, usual))),
    order.payment.status === 'due' && !gone && due(order, act),
    notice && h('p', { class: 'ticket-notice', role: 'alert' }, notice),
    order.unsent && h('p', { class: 'ticket-pending' }, 'Not sent yet'),
    h('div', { class: 'ticket-acts' }, gone ? press('dismiss', 'Take it off', order, act, true) : buttons(order, act, notice)));
}

function due(order, act) {
  return h('div', { class: 'ticket-due' }, h('span', null, `To pay ${money(order.total)}`), order.status !== 'ready' && press('take_payment', 'Take payment', order, act));
}

function top(order, now) {
  const how = order.fulfilment === 'in_store' ? 'In the store' : 'Pick up';
  const old = age(order, now);
  return h('header', { class: 'ticket-top' },
    h('span', { class: 'ticket-number' }, String(order.number)),
    h('div', null,
      h('p', { class: 'ticket-name' }, order.customer.name),
      h('p', { class: 'ticket-how' }, order.pickup_at ? `${how}, ${moment(order.pickup_at, now)}` : how)),
    h('p', { class: 'age', 'data-age': old.heat }, old.later ? 'later' : `${old.minutes} min`, h('small', null, old.words)));
}

function lineOf(line, usual) {
  const size = line.size_name ?? line.size;
  const [plain, chosen] = [true, false].map((is) => line.options.filter((option) => usual(line, option) === is));
  return h('li', null,
    h('b', null, `${line.quantity}×`),
    h('span', { class: 'ticket-item' }, line.name, size && h('small', null, ` ${size}`)),
    line.options.length > 0 && h('ul', { class: 'ticket-options' },
      chosen.map((option) => h('li', { class: without(option) && 'without' }, unitWords(option.name, option.units))),
      plain.map((option) => h('li', { class: 'usual' }, unitWords(option.name, option.units)))),
    line.note && h('p', { class: 'ticket-note' }, line.note));
}

// What is left out is what gets forgotten, so it stands out: a default taken away, or an option like "No foam".
const without = (option) => option.units === 0 || /^(no|without)\b/i.test(option.name);

function buttons(order, act, notice) {
  const last = order.payment.status === 'due' ? ['take_payment', 'Take payment'] : ['collect', 'Collect'];
  const main = { placed: ['start', 'Start'], in_progress: ['ready', 'Ready'], ready: last };
  return [
    press(...main[order.status], order, act, true),
    order.status !== 'placed' && press('undo', 'Undo', order, act),
    order.status !== 'ready' && press('cancel', 'Cancel', order, act),
    notice && press('dismiss', 'Got it', order, act),
  ];
}

function press(type, words, order, act, main = false) {
  return h('button', {
    type: 'button', class: main ? 'primary' : 'quiet', 'data-act': type, 'aria-label': `${words}, order ${order.number}`, onclick: (tap) => meant(tap) && act(type, order),
  }, words);
}

const ECHO = 500; // how soon the second tap of two comes, in milliseconds
let lastTap = 0;

// The second tap of a double one falls on the ticket that has just moved under the finger.
function meant(tap) {
  const echo = tap.detail > 1 && tap.timeStamp - lastTap < ECHO;
  lastTap = tap.timeStamp;
  return !echo;
}
