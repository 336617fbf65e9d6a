// A customer's status page: it follows one order by itself.
import { send, unanswered } from './attempt.js';
import { Problem, call } from './api.js';
import { unitWords } from './choices.js';
import { closable, fill, h, one, say } from './dom.js';
import { follow } from './live.js';
import { money } from './money.js';
import { orderCredential } from './order_token.js';
import { cancelWords, cancellable, moneyWords, news, over, steps } from './order_words.js';
import { offer } from './preferences.js';
import { sums } from './sums.js';

const { store, order: id } = document.body.dataset;
const path = `/v1/stores/${store}/orders/${id}`;
const credential = orderCredential(id);
const { token } = credential;
const TICK = 5000; // how often the words follow the clock: what is ready tomorrow is one day ready today
let shown;
let told;
let stream;
let acted;
let receipted;

function show(order) {
  lost(false);
  if (shown && order.version <= shown.version) return;
  const before = shown?.status;
  shown = order;
  one('#receipt').removeAttribute('aria-busy');
  head(order);
  tellNews(order, before);
  drawSteps(order);
  acts(order);
  say(one('#cancel-money'), cancelWords(order));
  lines(order);
  document.title = `${news(order).words} · ${order.number}`;
  if (over(order)) stream?.stop();
}

function message(order) {
  credential.opened();
  show(order);
}

function head(order) {
  fill(one('#order-head'), h('p', { class: 'number' }, h('span', { class: 'number-words' }, `Order for ${order.customer.name}`), h('span', { class: 'hidden' }, 'Number '), String(order.number)));
}

// The news go by the clock too, and are drawn only when they change, for they are read aloud.
function tellNews(order, before) {
  const { words, more, tone } = news(order);
  const fresh = before && before !== order.status;
  const all = [words, more, moneyWords(order)].join('\n');
  if (all === told) return;
  told = all;
  fill(one('#order-news'),
    h('p', { class: 'news', 'data-tone': tone, 'data-fresh': fresh }, words),
    more && h('p', { class: 'news-more' }, more),
    h('p', { class: 'news-more' }, moneyWords(order)));
}

function drawSteps(order) {
  const way = steps(order);
  const list = one('#steps');
  list.hidden = way.length === 0;
  list.setAttribute('data-steps', way.length);
  fill(list, way.map(({ words, state }) => h('li', {
    'data-done': state === 'done', 'data-failed': state === 'failed', 'aria-current': (state === 'now' || state === 'failed') && 'step',
  }, words, h('span', { class: 'hidden' }, { done: ' (done)', failed: ' (failed)' }[state] ?? ''))));
}

function acts(order) {
  const place = one('#order-acts');
  const form = one('form', place);
  // What stays the same stays where it is: under a finger, and under the focus of a keyboard.
  const all = [order.status === 'payment_failed', cancellable(order), over(order)].join();
  if (all === acted && !form?.dataset.sent) return;
  acted = all;
  fill(place,
    order.status === 'payment_failed' && payForm(),
    cancellable(order) && h('button', { type: 'button', class: 'danger', onclick: askCancel }, 'Cancel this order'),
    !cancellable(order) && over(order) && h('a', { class: 'button wide', href: `/${store}` }, 'Order again'));
}

function payForm() {
  const form = one('#pay-again').content.firstElementChild.cloneNode(true);
  form.addEventListener('submit', (submit) => {
    submit.preventDefault();
    pay(form);
  });
  return form;
}

async function pay(form) {
  const notice = one('.notice', form);
  const button = one('button', form);
  button.disabled = true;
  form.dataset.sent = 'true';
  say(notice, '');
  try {
    show(await send(id, {
      path: `${path}/payment`, token, body: { payment: { method: 'card', token: form.elements.payment.value } },
      trying: () => say(notice, 'No answer yet. Asking again; you will not be charged twice.'),
    }));
  } catch (error) {
    delete form.dataset.sent;
    button.disabled = false;
    if (error.code === 'not_payable') return refresh();
    say(notice, error instanceof Problem && !error.passing ? error.message : 'We got no answer. Press again: you will not be charged twice.', { bad: true });
  }
}

function askCancel() {
  say(one('#cancel-notice'), '');
  one('#cancel-sheet').showModal();
}

async function cancel() {
  const button = one('#cancel-yes');
  button.disabled = true;
  try {
    show(await call('POST', `${path}/cancel`, { token, body: {} }));
    one('#cancel-sheet').close();
    one('#order-news').focus(); // for the button that led here is gone
  } catch (error) {
    const late = error.code === 'not_cancellable';
    if (late) await refresh();
    const made = ['in_progress', 'ready', 'picked_up'].includes(shown.status);
    say(one('#cancel-notice'), !late ? 'That did not get through. Please try again.' : made ? 'It is too late: the barista has started on it.' : 'It is too late: the order has ended.', { bad: true });
  }
  button.disabled = false;
}

async function refresh() {
  try {
    show(await call('GET', path, { token }));
  } catch {
    // The stream brings it.
  }
}

// An order's lines never change; only the way to its receipt comes later.
function lines(order) {
  if (receipted === order.payment.captured > 0) return;
  receipted = order.payment.captured > 0;
  fill(one('#order-lines'),
    h('h2', { class: 'hidden' }, 'What you ordered'),
    h('ul', { class: 'lines' }, order.lines.map((line) => h('li', { class: 'line' },
      h('span', { class: 'line-name' }, line.quantity > 1 ? `${line.quantity} × ${line.name}` : line.name),
      h('span', { class: 'line-price' }, money(line.total)),
      optionWords(line) && h('span', { class: 'line-options' }, optionWords(line)),
      line.note && h('span', { class: 'line-note' }, `“${line.note}”`)))),
    h('dl', { class: 'sums' }, sums(order)),
    order.payment.captured > 0 && h('p', { class: 'receipt-acts' }, h('a', { href: `/${store}/orders/${id}/receipt${location.hash}` }, 'Receipt')));
}

const optionWords = (line) => [line.size_name ?? line.size, ...line.options.map((option) => unitWords(option.name, option.units))].filter(Boolean).join(', ');

function lost(is) {
  const hint = one('#lost');
  if (hint.hidden === !is) return;
  hint.hidden = !is;
  hint.textContent = is ? 'Connection lost, reconnecting. What you see may be old.' : '';
}

function stranger(words) {
  lost(false);
  one('#receipt').removeAttribute('aria-busy');
  fill(one('#order-head'), h('p', { class: 'news' }, 'This order cannot be shown'), h('p', { class: 'news-more' }, words));
}

function refused(problem) {
  if (problem.status === 404) return stranger('There is no such order here.');
  stranger('The link does not open it. Use the one you got when you ordered, on the device you ordered with.');
  credential.refused();
}

one('#cancel-no').addEventListener('click', () => one('#cancel-sheet').close());
one('#cancel-yes').addEventListener('click', cancel);
closable(one('#cancel-sheet'));

addEventListener('hashchange', () => location.hash.startsWith('#token=') && location.reload()); // the link, where this page is open already
if (!token) {
  stranger('It opens on the device that ordered. If that is this one, its memory has been cleared; the counter can help you by your name.');
} else {
  stream = follow(`${path}/live`, token, { message, down: () => lost(true), refused });
  offer(path, token);
  setInterval(() => shown && tellNews(shown, shown.status), TICK);
  if (unanswered(id)) send(id, { path, token }).then(show, refresh); // a payment of which the answer was lost
}
