// From a basket to an order.
import { send, giveUp, unanswered } from './attempt.js';
import { Problem, faultWords } from './api.js';
import { all, fill, h, one, say } from './dom.js';
import { keep, kept } from './keep.js';
import { money } from './money.js';
import { keepToken } from './order_token.js';
import { slotPicker } from './slots.js';
import { sums } from './sums.js';
import { moment } from './times.js';

/** checkout runs the second step of the panel. shop.now() is the store as the API last told it, shop.look() asks again. */
export function checkout(store, basket, panel, shop) {
  const form = one('#checkout');
  const slots = slotPicker(store);
  let sending = false;

  function show(on) {
    form.hidden = !on;
    one('#basket-step').hidden = on;
    one('#basket').parentElement.scrollTop = 0;
    (on ? one('#checkout-title') : one('#basket-title')).focus({ preventScroll: true });
    if (!on) return;
    slots.open(shop.now()?.accepting ?? true);
    fulfilmentChanged();
    refresh();
  }

  function refresh() {
    if (form.hidden) return;
    if (!basket.lines.length && !sending) return show(false);
    const pay = one('#pay');
    pay.disabled = !panel.quote || sending;
    fill(one('#checkout-sums'), panel.quote ? sums(panel.quote) : '');
    if (!sending) pay.textContent = payWords(form, panel.quote);
  }

  function fulfilmentChanged() {
    const here = form.elements.fulfilment.value === 'in_store';
    one('#when').hidden = here;
    one('#counter-choice').hidden = !here;
    if (!here && form.elements.payment.value === 'counter') one('[value="tok_visa"]', form).checked = true;
    refresh();
  }

  async function place(expected = panel.quote?.total) {
    clearFaults(form);
    if (form.elements.fulfilment.value === 'pickup' && slots.missing) return fault('slot-fault', 'Choose a time.');
    if (!form.elements.name.value.trim()) return fault('name-fault', 'We need a name to call out.', 'name');
    keep('frenchpress.name', form.elements.name.value.trim());
    await settle(() => ({ path: `/v1/stores/${store}/orders`, body: request(form, basket, slots, expected) }));
  }

  // Also finishes an attempt of which the answer was lost, then with the bytes that were sent first.
  async function settle(attempt) {
    busy(true);
    const lost = unanswered(store);
    try {
      const order = await send(store, { ...attempt(), trying: () => say(one('#checkout-notice'), 'No answer yet. Asking again; you will not be charged twice.') });
      done(order, !lost || inBasket(lost));
    } catch (error) {
      busy(false);
      refused(error);
    }
  }

  function busy(on) {
    sending = on;
    one('#pay').disabled = on;
    if (on) one('#pay').textContent = 'Sending your order';
    if (on) say(one('#checkout-notice'), '');
    else refresh();
  }

  function done(order, whole) {
    keepToken(order.id, order.token);
    keep('frenchpress.last', { store, id: order.id, number: order.number, at: Date.now() });
    if (whole) basket.clear();
    location.assign(`/${store}/orders/${order.id}#token=${encodeURIComponent(order.token)}`);
  }

  function refused(error) {
    const notice = one('#checkout-notice');
    if (!(error instanceof Problem) || error.passing) {
      const ask = h('button', { type: 'button', class: 'button', onclick: again }, 'Ask again');
      return say(notice, ['We got no answer, so we do not know whether your order went through. Asking again never orders twice.', h('div', { class: 'acts' }, ask)], { bad: true });
    }
    if (error.code === 'price_changed') return priceChanged(error, notice);
    if (error.code === 'slot_full') return slotFull(error, notice);
    if (error.code === 'store_closed' || error.code === 'store_paused') return shut(error, notice);
    if (error.status === 422 && error.errors.length) return faults(error, notice);
    say(notice, error.message, { bad: true });
  }

  function priceChanged(error, notice) {
    const { quote } = error.body;
    panel.refresh();
    const yes = h('button', { type: 'button', class: 'primary', onclick: () => place(quote.total) }, `Order for ${money(quote.total)}`);
    const no = h('button', { type: 'button', class: 'button', onclick: () => show(false) }, 'Look at the basket');
    say(notice, [`The price has changed. The total is now ${money(quote.total)}. Nothing has been charged.`, h('div', { class: 'acts' }, yes, no)]);
    yes.focus();
  }

  async function shut(error, notice) {
    await shop.look();
    say(notice, shutWords(error, shop.now()), { bad: true });
  }

  function slotFull(error, notice) {
    const next = error.body.next_slot?.starts_at ?? error.body.next_slot;
    if (!next) return say(notice, 'That time has just filled up, and no other one is free within a week.', { bad: true });
    const take = h('button', { type: 'button', class: 'primary', onclick: async () => { await slots.choose(next); place(); } }, `Take ${moment(next)}`);
    say(notice, [`That time has just filled up. The next free one is ${moment(next)}.`, h('div', { class: 'acts' }, take)]);
    slots.load();
    take.focus();
  }

  function faults(error, notice) {
    const rest = error.errors.filter(({ pointer, detail }) => !fieldFault(pointer, detail));
    if (rest.some(({ pointer }) => pointer.startsWith('/lines'))) {
      panel.refresh();
      show(false);
    }
    say(notice, rest.map(({ detail }) => faultWords(detail)).join('. '), { bad: true });
    one('[aria-invalid="true"]', form)?.focus();
  }

  // Another page may have had the answer by now.
  function again() {
    if (!unanswered(store)) return location.reload();
    settle(() => ({}));
    show(true);
  }

  // What was sent and never answered may be another basket than this one, or one to be paid otherwise.
  function inBasket(attempt) {
    const same = ({ lines, tip, payment }) => JSON.stringify([lines, tip, payment]);
    return same(JSON.parse(attempt.body)) === same(request(form, basket, slots));
  }

  function offerUnanswered() {
    const notice = one('#unsent');
    if (!unanswered(store)) return say(notice, '');
    say(notice, ['Your last order got no answer, so it may or may not have gone through.', h('div', { class: 'acts' },
      h('button', { type: 'button', class: 'primary', onclick: () => { say(notice, ''); again(); } }, 'Ask again'),
      h('button', { type: 'button', class: 'button', onclick: () => { giveUp(store); say(notice, ''); } }, 'Forget it'))]);
  }

  form.elements.name.value = kept('frenchpress.name') ?? '';
  form.addEventListener('submit', (submit) => {
    submit.preventDefault();
    if (sending) return;
    const lost = unanswered(store);
    if (!lost) return place();
    if (inBasket(lost)) return settle(() => ({}));
    show(false);
    offerUnanswered();
  });
  form.addEventListener('change', () => {
    if (!sending && !unanswered(store)) say(one('#checkout-notice'), ''); // it was about what has just been changed
    fulfilmentChanged();
  });
  one('#to-checkout').addEventListener('click', () => show(true));
  one('#to-basket').addEventListener('click', () => show(false));
  panel.watch = refresh;
  offerUnanswered();
}

function payWords(form, quote) {
  if (!quote) return 'Waiting for the price';
  return form.elements.payment.value === 'counter' ? `Order, and pay ${money(quote.total)} at the counter` : `Pay ${money(quote.total)}`;
}

function request(form, basket, slots, expected) {
  const value = (name) => form.elements[name].value.trim() || undefined;
  const pickup = value('fulfilment') === 'pickup';
  const card = value('payment');
  return {
    fulfilment: value('fulfilment'),
    pickup_at: pickup ? slots.value : undefined,
    customer: { name: value('name'), email: value('email'), phone: value('phone') },
    lines: basket.lines,
    tip: basket.tip || undefined,
    payment: card === 'counter' ? { method: 'counter' } : { method: 'card', token: card },
    expected_total: expected,
  };
}

function shutWords(error, store) {
  if (error.code === 'store_closed') return 'The store is closed at that time. Choose another time, and your basket stays as it is.';
  const until = store?.opens_at;
  return `The bar takes no orders${until ? ` until ${moment(until)}` : ' for a moment'}. Your basket stays as it is.`;
}

const FIELDS = { '/customer/name': 'name', '/customer/email': 'email', '/customer/phone': 'phone', '/pickup_at': 'slot', '/payment': 'payment' };

function fieldFault(pointer, detail) {
  const field = Object.entries(FIELDS).find(([start]) => pointer === start || pointer.startsWith(`${start}/`))?.[1];
  if (field) fault(`${field}-fault`, faultWords(detail), field);
  return Boolean(field);
}

function fault(id, words, field) {
  one(`#${id}`).textContent = words;
  const input = field && one(`#checkout #${field}`);
  input?.setAttribute('aria-invalid', 'true');
  (input ?? one('#slot')).focus();
}

function clearFaults(form) {
  all('.fault', form).forEach((each) => { each.textContent = ''; });
  all('[aria-invalid]', form).forEach((each) => each.removeAttribute('aria-invalid'));
  say(one('#checkout-notice'), '');
}
