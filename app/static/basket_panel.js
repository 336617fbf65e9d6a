// The basket as a slip of paper: at the side of a wide screen, a sheet on a small one.
import { faultWords } from './api.js';
import { MOST_OF_A_LINE } from './basket.js';
import { itemsOf, optionsOf, unitWords } from './choices.js';
import { closable, fill, h, one, say, stepper } from './dom.js';
import { minorOf, money } from './money.js';
import { quoter } from './quotes.js';
import { steady } from './steady.js';
import { sums } from './sums.js';

const sheet = one('#basket-sheet');
const UNKNOWN = { subtotal: 0, discount: 0, tax: 1, total: 0 }; // not shown while busy, but what lies above stays where it is
const wide = matchMedia('(min-width: 70rem)');

/**
 * basketPanel draws the basket. menu() is the menu as it is known; edit(at) opens the item sheet for a line. The panel's
 * quote is what the server last said of exactly what is in the basket, undefined while it is being asked; it is stuck when
 * nobody could be asked.
 */
export function basketPanel(store, basket, { menu, edit }) {
  const panel = { quote: undefined, prices: [], gone: new Map(), watch: undefined, stuck: false, open };
  const ask = quoter(store, steady(answered));
  const rows = []; // the lines as they are drawn
  const askRest = quoter(store, (answer) => answer.state === 'priced' && priced(answer.quote));

  function draw() {
    const empty = basket.lines.length === 0;
    one('#basket-empty').hidden = !empty;
    one('#basket-foot').hidden = empty;
    drawLines();
    drawTips(basket);
    bar();
  }

  // A row that only changes its number or price stays where it is, with the focus and a finger that are on it.
  function drawLines() {
    const list = one('#basket-lines');
    basket.lines.forEach((line, at) => {
      const item = itemsOf(menu()).find((each) => each.id === line.item);
      const key = JSON.stringify([{ ...line, quantity: 0 }, panel.gone.get(at), Boolean(item)]);
      if (rows[at]?.key !== key) rows[at] = { key, ...rowOf(line, at, item) };
      rows[at].steps.set(line.quantity, true, line.quantity < MOST_OF_A_LINE);
      rows[at].price.textContent = panel.prices[at] ?? '';
      if (!list.children[at]) list.append(rows[at].element);
      else if (list.children[at] !== rows[at].element) list.children[at].replaceWith(rows[at].element);
    });
    rows.length = basket.lines.length;
    while (list.children.length > rows.length) list.lastElementChild.remove();
  }

  function rowOf(line, at, item) {
    const words = item ? lineWords(item, line) : { name: line.item, options: '' };
    const steps = stepper(`Number of ${words.name}`, (by) => {
      const quantity = basket.lines[at].quantity + by;
      if (quantity < 1) basket.remove(at);
      else basket.replace(at, { ...basket.lines[at], quantity });
    });
    const price = h('span', { class: 'line-price' });
    const fault = panel.gone.get(at);
    const element = h('li', { class: 'line', 'data-gone': Boolean(fault), 'data-line': at },
      h('span', { class: 'line-name' }, words.name),
      price,
      words.options && h('span', { class: 'line-options' }, words.options),
      line.note && h('span', { class: 'line-note' }, `“${line.note}”`),
      fault && h('p', { class: 'fault' }, fault),
      h('div', { class: 'line-acts' }, steps.element, h('span', null,
        item && h('button', { type: 'button', class: 'quiet', 'aria-label': `Edit ${words.name}`, onclick: () => edit(at) }, 'Edit'),
        h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove ${words.name}`, onclick: () => basket.remove(at) }, 'Remove'))));
    return { element, steps, price };
  }

  function answered(answer) {
    one('#sums').setAttribute('aria-busy', String(answer.state === 'asking'));
    panel.quote = answer.quote;
    panel.stuck = answer.state === 'unreachable';
    if (answer.state === 'asking') return panel.watch?.();
    panel.gone = answer.state === 'refused' ? faultsByLine(answer.problem) : new Map();
    panel.prices = [];
    if (answer.quote) priced(answer.quote);
    else rest();
    say(one('#basket-notice'), noticeWords(answer, panel.gone, () => basket.remove(...panel.gone.keys())), { bad: true });
    one('#to-checkout').disabled = answer.state !== 'priced';
    panel.watch?.();
  }

  // What is left beside the sold-out lines still has a price worth knowing.
  function rest() {
    const lines = basket.lines.filter((_, at) => !panel.gone.has(at));
    if (panel.gone.size && lines.length) askRest({ fulfilment: 'pickup', lines, tip: basket.tip });
    else fill(one('#sums'));
    draw();
  }

  function priced(quote) {
    const totals = quote.lines.map((line) => money(line.total));
    panel.prices = basket.lines.map((_, at) => (panel.gone.has(at) ? '' : totals.shift()));
    fill(one('#sums'), sums(quote));
    one('#sums').setAttribute('aria-busy', 'false');
    draw();
  }

  function bar() {
    one('#basket-bar').hidden = basket.lines.length === 0;
    one('#basket-count').textContent = `${basket.count()} ${basket.count() === 1 ? 'piece' : 'pieces'}`;
    one('#basket-total').textContent = panel.quote ? money(panel.quote.total) : '';
  }

  function open() {
    if (wide.matches) return one('#basket-title').focus();
    if (!sheet.open) sheet.showModal();
  }

  basket.watch(() => {
    panel.gone = new Map();
    panel.quote = undefined;
    panel.prices = [];
    draw();
    askRest(null);
    say(one('#basket-notice'), '');
    one('#sums').setAttribute('aria-busy', 'true');
    if (!one('#sums').children.length) fill(one('#sums'), sums({ ...UNKNOWN, tip: basket.tip }));
    ask(basket.lines.length ? { fulfilment: 'pickup', lines: basket.lines, tip: basket.tip } : null);
    panel.watch?.();
  });
  wireTips(basket);
  place();
  wide.addEventListener('change', place);
  one('#basket-open').addEventListener('click', open);
  one('#basket-close').addEventListener('click', () => sheet.close());
  closable(sheet);
  panel.refresh = () => { draw(); if (basket.lines.length) ask({ fulfilment: 'pickup', lines: basket.lines, tip: basket.tip }); };
  return panel;
}

function place() {
  if (wide.matches) sheet.close();
  (wide.matches ? one('#side') : sheet).append(one('#basket'));
}

function lineWords(item, line) {
  const options = optionsOf(item);
  const words = (line.options ?? []).map((named) => unitWords(options.find((option) => option.id === named.id)?.name ?? named.id, named.units));
  const size = item.sizes.find((each) => each.id === line.size)?.name;
  return { name: item.name, options: [size, ...words].filter(Boolean).join(', ') };
}

function faultsByLine(problem) {
  const faults = new Map();
  for (const error of problem.errors) {
    const at = /^\/lines\/(\d+)/.exec(error.pointer)?.[1];
    if (at !== undefined) faults.set(Number(at), [faults.get(Number(at)), faultWords(error.detail)].filter(Boolean).join('. '));
  }
  return faults;
}

function noticeWords(answer, gone, remove) {
  if (answer.state === 'unreachable') return 'We cannot reach the shop for prices. Your basket is kept; try again in a moment.';
  if (answer.state !== 'refused') return '';
  if (!gone.size) return answer.problem.errors.map((error) => faultWords(error.detail)).join('. ') || answer.problem.message;
  const words = gone.size === 1 ? 'One thing in your basket cannot be had any more.' : `${gone.size} things in your basket cannot be had any more.`;
  return [words, h('div', { class: 'acts' }, h('button', { type: 'button', class: 'button', onclick: remove }, gone.size === 1 ? 'Remove it' : 'Remove them'))];
}

let otherTip = false;
let drawnTip;

function drawTips(basket) {
  const amounts = (document.body.dataset.tips ?? '').split(',').map(Number);
  const other = otherTip || ![0, ...amounts].includes(basket.tip);
  if (drawnTip === `${other} ${basket.tip}`) return;
  drawnTip = `${other} ${basket.tip}`;
  const pill = (words, amount, checked, act) => h('label', { class: 'pill' },
    h('input', { type: 'radio', name: 'tip', checked, onchange: act, value: amount }), h('span', null, words));
  const chosen = document.activeElement?.name === 'tip' ? document.activeElement.value : undefined;
  fill(one('#tips'),
    pill('None', 0, !other && basket.tip === 0, () => choose(basket, 0)),
    amounts.map((amount) => pill(money(amount), amount, !other && basket.tip === amount, () => choose(basket, amount))),
    pill('Other', 'other', other, () => { otherTip = true; drawTips(basket); one('#tip-amount').focus(); }));
  one('#tip-other').hidden = !other;
  if (chosen !== undefined) one(`#tips input[value="${chosen}"]`)?.focus();
}

function choose(basket, amount) {
  otherTip = false;
  one('#tip-amount').value = '';
  basket.tipWith(amount);
}

function wireTips(basket) {
  const amount = one('#tip-amount');
  amount.addEventListener('change', () => {
    const tip = amount.value.trim() === '' ? 0 : minorOf(amount.value);
    amount.setAttribute('aria-invalid', String(Number.isNaN(tip)));
    if (!Number.isNaN(tip)) basket.tipWith(tip);
  });
}
