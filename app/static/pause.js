// Pausing a store's orders, and asking why an order is cancelled.
import { call } from './api.js';
import { closable, fill, h, one } from './dom.js';
import { MINUTE, moment } from './times.js';

const LENGTHS = [10, 20, 30];
const REASONS = ['Customer asked', 'Out of an ingredient', 'Machine is down', 'Nobody there'];

/** pausing shows whether the store is paused; push(type, fields) sends a command, pending() are those that wait, now() is the shop's clock. */
export function pausing(store, { push, pending, now }) {
  const sheet = one('#pause-sheet');
  const banner = one('#paused');
  const words = h('span');
  let until;
  closable(sheet);
  fill(banner, words, h('button', { type: 'button', onclick: () => push('resume') }, 'Resume now'));
  fill(sheet, h('h2', { id: 'pause-title' }, 'Pause new orders'), h('p', null, 'Orders already here stay. Customers see when it goes on.'),
    h('div', { class: 'acts' }, LENGTHS.map((minutes) => h('button', { type: 'button', class: 'button', onclick: () => pause(minutes) }, `${minutes} min`))),
    h('div', { class: 'acts' }, h('button', { type: 'button', class: 'quiet', onclick: () => sheet.close() }, 'Go on taking orders')));
  one('#pause-open').addEventListener('click', () => sheet.showModal());

  function pause(minutes) {
    sheet.close();
    push('pause', { until: new Date(now() + minutes * MINUTE).toISOString() });
  }

  async function load() {
    try {
      until = (await call('GET', `/v1/stores/${store}`)).paused_until;
    } catch {
      return; // what was known last stays, and the board itself says that the connection is lost
    }
    draw();
  }

  function draw() {
    const last = pending().findLast((command) => command.type === 'pause' || command.type === 'resume');
    const end = last ? last.until : until;
    const paused = end && new Date(end) > now();
    banner.hidden = !paused;
    one('#pause-open').hidden = Boolean(paused);
    words.textContent = paused ? `New orders are paused until ${moment(end)}${last ? ' (not sent yet)' : ''}` : '';
  }

  // What the shop has taken holds before it has been asked again.
  function answered(command, result) {
    if (result.result === 'applied') until = command.until;
    return load();
  }

  return { load, draw, answered };
}

/** askReason asks why an order is to be cancelled; done(reason) is called unless the barista thinks better of it. */
export function askReason(order, done) {
  const sheet = one('#reason-sheet');
  const other = h('input', { maxlength: 200, 'aria-label': 'Another reason', placeholder: 'Another reason' });
  const finish = (reason) => {
    if (!reason.trim()) return other.focus();
    sheet.close();
    done(reason.trim());
  };
  fill(sheet, h('h2', { id: 'reason-title' }, `Cancel order ${order.number} for ${order.customer.name}?`),
    h('p', null, `${order.payment.status === 'due' ? 'It has not been paid.' : 'What was paid goes back.'} Tap why, and it is cancelled.`),
    h('div', { class: 'acts' }, REASONS.map((reason) => h('button', { type: 'button', class: 'button', onclick: () => finish(reason) }, reason))),
    h('form', { class: 'search-row other', onsubmit: (submit) => { submit.preventDefault(); finish(other.value); } }, other, h('button', { class: 'danger', type: 'submit' }, 'Cancel it')),
    h('div', { class: 'acts' }, h('button', { type: 'button', class: 'quiet', onclick: () => sheet.close() }, 'Keep the order')));
  sheet.showModal();
}

closable(one('#reason-sheet'));
