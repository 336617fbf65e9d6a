// A receipt: what was ordered, what it cost, and where the money went, to keep or to print.
import { call } from './api.js';
import { unitWords } from './choices.js';
import { fill, h, one } from './dom.js';
import { money } from './money.js';
import { moneyWords } from './order_words.js';
import { orderCredential } from './order_token.js';
import { sums } from './sums.js';
import { clock, longDay } from './times.js';

const { store, order: id } = document.body.dataset;
const body = one('#receipt-body');

function show(order) {
  fill(body,
    h('dl', { class: 'facts' },
      fact('Receipt for order', String(order.number)),
      fact('Ordered', `${longDay(order.placed_at)}, ${clock(order.placed_at)}`),
      fact('For', order.customer.name),
      fact('Reference', order.id)),
    h('ul', { class: 'lines' }, order.lines.map(line)),
    h('dl', { class: 'sums' }, sums(order)),
    h('dl', { class: 'sums', id: 'money' }, moneyRows(order.payment)),
    (order.refunds ?? []).map((given) => refund(order, given)),
    order.payment.status !== 'captured' && h('p', { class: 'news-more' }, moneyWords(order)));
  document.title = `Receipt ${order.number}`;
  one('#print').hidden = false;
}

const fact = (name, words) => h('div', null, h('dt', null, name), h('dd', null, words));

function line(line) {
  return h('li', { class: 'line' },
    h('span', { class: 'line-name' }, [line.name, line.size_name ?? line.size].filter(Boolean).join(', ')),
    h('span', { class: 'line-price' }, money(line.total)),
    line.quantity > 1 && h('span', { class: 'line-options' }, `${line.quantity} at ${money(line.unit_price)} each`),
    line.options.map((option) => h('span', { class: 'line-options' },
      unitWords(option.name, option.units), option.charged_units * option.unit_price > 0 && ` +${money(option.charged_units * option.unit_price)}`)));
}

// moneyRows are what was taken and what went back, which the sums above cannot tell.
function moneyRows({ method, captured, refunded }) {
  if (captured === 0) return [fact('Paid', money(0))];
  return [
    fact(method === 'card' ? 'Paid by card' : 'Paid at the counter', money(captured)),
    refunded > 0 && fact('Refunded', money(-refunded)),
    refunded > 0 && h('div', { class: 'total' }, h('dt', null, 'Kept'), h('dd', null, money(captured - refunded))),
  ];
}

const WAYS = { done: 'Given back', pending: 'On its way back', failed: 'Still owed to you: the shop sees to it' };

/** refund is one refund with what it was for. */
function refund(order, { amount, tax, tip, lines, status, reason, at }) {
  const parts = lines.map(({ line, quantity }) => {
    const { name, unit_price: price } = order.lines[line];
    return fact(`${quantity} × ${name}`, money(-quantity * price));
  });
  return h('section', { class: 'refunded', 'data-status': status },
    h('h2', null, `Refund, ${longDay(at)}, ${clock(at)}`),
    reason && h('p', { class: 'line-options' }, reason),
    h('dl', { class: 'sums' },
      parts,
      tax > 0 && fact('Tax', money(-tax)),
      tip > 0 && fact('Tip', money(-tip)),
      h('div', { class: 'total' }, h('dt', null, WAYS[status]), h('dd', null, money(-amount)))));
}

function opened(order) {
  credential.opened();
  one('.masthead .elsewhere').hash = location.hash;
  show(order);
}

function refuse(problem) {
  const stranger = problem.status === 401 || problem.status === 403;
  const words = stranger
    ? 'It opens on the device that ordered, once the order has been looked at there.'
    : 'We cannot reach the shop. Please load this page again.';
  fill(body, h('p', { class: 'news' }, 'No receipt to show'), h('p', { class: 'news-more' }, words));
  if (stranger) credential.refused();
}

one('#print').addEventListener('click', () => print());
const credential = orderCredential(id);
const { token } = credential;
const asked = token ? call('GET', `/v1/stores/${store}/orders/${id}`, { token }) : Promise.reject({ status: 401 });
asked.then(opened, refuse).finally(() => one('#receipt').removeAttribute('aria-busy'));
