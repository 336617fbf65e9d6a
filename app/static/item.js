// The sheet on which an item is made one's own.
import { faultWords } from './api.js';
import { MOST_OF_A_LINE } from './basket.js';
import * as choices from './choices.js';
import { all, closable, flag, fill, h, one, stepper } from './dom.js';
import { money } from './money.js';
import { quoter } from './quotes.js';

const sheet = one('#item-sheet');
const store = document.body.dataset.store;
closable(sheet);

/** openItem shows the sheet. done(line) is called with the finished line; line is the one to change, if any. */
export function openItem(item, { drawing, line, done }) {
  const state = { item, ...choices.begin(item, line), quantity: line?.quantity ?? 1 };
  const foot = footOf(state, line);
  const ask = quoter(store, foot.show);
  const parts = [];
  const changed = () => {
    parts.forEach((part) => part.refresh());
    const missing = item.option_groups.map((group) => choices.lacks(group, state.units) && group).filter(Boolean);
    foot.refresh(missing);
    ask(missing.length ? null : { fulfilment: 'pickup', lines: [lineOf(state)] });
  };
  parts.push(quantityOf(state, changed, foot.quantity), ...item.option_groups.map((group) => groupOf(state, group, changed)));
  const finish = (submit) => {
    submit.preventDefault();
    if (foot.button.getAttribute('aria-disabled') === 'true') return firstMissing();
    sheet.close();
    done(lineOf(state, one('textarea', sheet).value));
  };
  fill(sheet, h('form', { novalidate: true, onsubmit: finish },
    h('button', { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => sheet.close() }),
    h('header', { class: 'item-head' }, h('h2', { id: 'item-title', tabindex: '-1', autofocus: true }, item.name)),
    h('div', { class: 'item-body' }, top(item, drawing), sizesOf(state, changed), ...parts.map((part) => part.element), noteOf(line)),
    foot.element));
  sheet.addEventListener('close', () => ask(null), { once: true });
  changed();
  sheet.showModal();
  one('.item-body', sheet).scrollTop = 0;
}

function lineOf(state, note = '') {
  const line = { item: state.item.id, quantity: state.quantity };
  if (state.size) line.size = state.size;
  const options = choices.named(state.item, state.units);
  if (options.length) line.options = options;
  const words = note.replace(/\s+/g, ' ').trim(); // a ticket has no line breaks
  if (words) line.note = words;
  return line;
}

function top(item, drawing) {
  return h('div', { class: 'item-top' },
    h('p', null, item.description), h('img', { src: drawing, alt: '', width: 112, height: 112 }));
}

function noteOf(line) {
  return h('label', { class: 'field group' }, h('span', null, 'Note for the barista'),
    h('textarea', { maxlength: 200, rows: 2, value: line?.note ?? '' }));
}

function sizesOf(state, changed) {
  if (!state.item.sizes.length) return '';
  const pills = state.item.sizes.map((size) => h('label', { class: 'pill' },
    h('input', {
      type: 'radio', name: 'size', value: size.id, checked: size.id === state.size,
      onchange: () => { state.size = size.id; changed(); },
    }),
    h('span', null, size.name, h('small', null, money(size.price)))));
  return h('fieldset', { class: 'group' }, h('legend', null, 'Size'), h('div', { class: 'sizes' }, pills));
}

function quantityOf(state, changed, place) {
  const steps = stepper('Quantity', (by) => { state.quantity += by; changed(); });
  place.append(steps.element);
  return { element: '', refresh: () => steps.set(state.quantity, state.quantity > 1, state.quantity < MOST_OF_A_LINE) };
}

function groupOf(state, group, changed) {
  const hint = h('small');
  const rows = choices.takesOne(group) ? radios(state, group, changed) : group.options.map((option) => row(state, group, option, changed));
  const element = h('fieldset', { class: 'group', 'data-group': group.id }, h('legend', null, group.name, hint), rows.map((each) => each.element));
  return {
    element,
    refresh() {
      const missing = choices.lacks(group, state.units);
      hint.className = missing ? 'want' : '';
      hint.textContent = missing || choices.rules(group);
      rows.forEach((each) => each.refresh());
    },
  };
}

function radios(state, group, changed) {
  const rows = group.options.map((option) => radio(state, group, option, changed));
  if (group.min_units > 0 || group.min_unique > 0) return rows;
  return [radio(state, group, { id: '', name: 'None', available: true }, changed), ...rows];
}

function radio(state, group, option, changed) {
  const input = h('input', {
    type: 'radio', name: `group-${group.id}`, disabled: !option.available,
    onchange: () => { choices.pick(group, state.units, option.id); changed(); },
  });
  const cost = h('span', { class: 'option-price' });
  const nothing = () => group.options.every((each) => state.units.get(each.id) === 0);
  return {
    element: h('label', { class: 'option', 'data-off': !option.available }, input, h('span', { class: 'option-name' }, option.name), cost),
    refresh() {
      input.checked = option.id ? state.units.get(option.id) > 0 : nothing();
      cost.textContent = option.id ? priceWords(group, option, state.size) : '';
    },
  };
}

function row(state, group, option, changed) {
  return Math.min(option.max_units, group.max_units ?? Infinity) > 1 ? counted(state, group, option, changed) : ticked(state, group, option, changed);
}

function ticked(state, group, option, changed) {
  const input = h('input', {
    type: 'checkbox',
    onchange: () => { state.units.set(option.id, input.checked ? 1 : 0); changed(); },
  });
  const cost = h('span', { class: 'option-price' });
  const element = h('label', { class: 'option' }, input, h('span', { class: 'option-name' }, option.name), cost);
  return {
    element,
    refresh() {
      input.checked = state.units.get(option.id) > 0;
      input.disabled = !input.checked && choices.room(group, state.units, option) < 1;
      flag(element, 'data-off', input.disabled);
      cost.textContent = priceWords(group, option, state.size);
    },
  };
}

function counted(state, group, option, changed) {
  const steps = stepper(option.name, (by) => { state.units.set(option.id, state.units.get(option.id) + by); changed(); });
  const cost = h('span', { class: 'option-price' });
  const element = h('div', { class: 'option', 'data-off': !option.available }, h('span', { class: 'option-name' }, option.name), cost, steps.element);
  return {
    element,
    refresh() {
      const units = state.units.get(option.id);
      steps.set(units, units > 0, choices.room(group, state.units, option) > 0);
      cost.textContent = priceWords(group, option, state.size);
    },
  };
}

function priceWords(group, option, size) {
  if (!option.available) return 'Sold out';
  const price = choices.unitPrice(group, option, size);
  return price > 0 ? `+${money(price)}` : '';
}

function footOf(state, line) {
  const price = h('span', { class: 'price', 'aria-live': 'polite' });
  const button = h('button', { type: 'submit', class: 'primary' }, h('span', null, line ? 'Change' : 'Add to basket'), price);
  const fault = h('p', { class: 'fault', role: 'alert' });
  const quantity = h('div');
  const enable = (on) => button.setAttribute('aria-disabled', String(!on));
  return {
    element: h('div', { class: 'item-foot' }, fault, quantity, button),
    button,
    quantity,
    refresh(missing) {
      enable(!missing.length);
      price.textContent = '';
      fault.textContent = '';
    },
    show(answer) {
      button.setAttribute('aria-busy', String(answer.state === 'asking'));
      price.textContent = answer.state === 'priced' ? money(answer.quote.lines[0].total) : '';
      fault.textContent = answerWords(answer);
      if (answer.state !== 'asking') enable(answer.state === 'priced');
    },
  };
}

function answerWords(answer) {
  if (answer.state === 'unreachable') return 'We cannot reach the shop for the price. Change something to try again.';
  if (answer.state !== 'refused') return '';
  return answer.problem.errors.map((error) => faultWords(error.detail)).join('. ') || answer.problem.message;
}

function firstMissing() {
  const wanted = one('.want', sheet)?.closest('fieldset');
  all('input, button', wanted ?? sheet).find((input) => !input.disabled)?.focus();
}
