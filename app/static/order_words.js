// What a customer is told of an order in each of its states.
import { money } from './money.js';
import { clock, day, moment, when } from './times.js';

const STEPS = [['placed', 'Placed'], ['in_progress', 'Being made'], ['ready', 'Ready'], ['picked_up', 'Picked up']];
const FINAL = ['picked_up', 'cancelled', 'expired', 'abandoned'];
const OPEN_MONEY = ['pending', 'unknown', 'refund_pending'];

const at = (order, status) => order.history.findLast((step) => step.status === status)?.at;

/** over tells that nothing more will come of the order, so its stream may end. */
export const over = (order) => FINAL.includes(order.status) && !OPEN_MONEY.includes(order.payment.status);

export const cancellable = (order) => ['payment_pending', 'payment_failed', 'placed'].includes(order.status);

/** steps are the way of the order: {words, state} with state done, now, failed or next. None for an order that has ended early. */
export function steps(order) {
  if (['cancelled', 'expired', 'abandoned'].includes(order.status)) return [];
  const names = order.payment.method === 'counter' ? STEPS : [['payment', 'Payment'], ...STEPS];
  const paying = order.status.startsWith('payment_');
  const now = names.findIndex(([name]) => name === (paying ? 'payment' : order.status));
  return names.map(([, words], place) => {
    if (place !== now) return { words, state: place < now ? 'done' : 'next' };
    return { words, state: order.status === 'payment_failed' ? 'failed' : order.status === 'picked_up' ? 'done' : 'now' };
  });
}

/** news is the headline, a sentence more, and a tone: good, bad or none. */
export function news(order) {
  const tell = {
    payment_pending: paying,
    payment_failed: () => ({ words: 'The card was not accepted', more: `${failure(order)} Nothing has been charged. Your order waits a few minutes for another card.`, tone: 'bad' }),
    placed: () => ({ words: 'We have your order', more: estimate(order) }),
    in_progress: () => ({ words: 'Being made right now', more: estimate(order) }),
    ready: () => ({ words: 'Ready. Come and get it.', more: `It has been on the counter since ${moment(at(order, 'ready'))}.`, tone: 'good' }),
    picked_up: () => ({ words: 'Enjoy it', more: `Picked up ${when(at(order, 'picked_up'))}.`, tone: 'good' }),
    cancelled: () => ({ words: 'This order was cancelled', more: by(order), tone: 'bad' }),
    expired: () => ({ words: 'This order was not paid in time', more: 'Nothing is being made. You are welcome to order again.', tone: 'bad' }),
    abandoned: () => ({ words: 'Nobody came for this order', more: `It was ready ${when(at(order, 'ready'))} and has been cleared away. Please talk to us at the counter.`, tone: 'bad' }),
  };
  return tell[order.status]?.(order) ?? { words: order.status.replaceAll('_', ' ') };
}

function paying(order) {
  if (order.payment.status !== 'unknown') return { words: 'Checking your card', more: 'This takes a few seconds.' };
  return { words: 'Waiting for the card company', more: 'It has not answered yet. We are asking again; you will not be charged twice, and you need not do anything.' };
}

const FAILURES = { card_declined: 'The bank declined it.', insufficient_funds: 'There was not enough on it.', expired_card: 'It has expired.' };

const failure = (order) => FAILURES[order.payment.failure] ?? '';

function by(order) {
  const who = order.history.at(-1)?.by;
  return who === 'customer' ? `You cancelled it ${when(at(order, 'cancelled'))}.` : `The store cancelled it ${when(at(order, 'cancelled'))}. We are sorry.`;
}

function estimate(order) {
  const time = order.ready_estimate ?? order.pickup_at;
  if (!time) return 'This page moves by itself.';
  return new Date(time) > Date.now() ? `Ready ${day(time)}at about ${clock(time)}. This page moves by itself.` : 'It should be ready any minute.';
}

const IN_DOUBT = 'If your card was charged, the money goes back by itself.';

const refundsThat = (are, order) => (order.refunds ?? []).filter((refund) => refund.status === are).reduce((sum, refund) => sum + refund.amount, 0);

function refundWords(order) {
  const pending = refundsThat('pending', order);
  const failed = refundsThat('failed', order);
  return [pending && `${money(pending)} is on its way back to you.`, failed && `The shop owes you ${money(failed)}: your card did not take it back.`]
    .filter(Boolean).join(' ');
}

/** moneyWords says where the money is, when that is not plain from the rest. */
export function moneyWords(order) {
  const { status, captured, refunded } = order.payment;
  switch (status) {
    case 'due': return `To pay at the counter: ${money(order.total)}`;
    case 'captured': return order.payment.method === 'counter' ? `Paid ${money(captured)} at the counter` : `Paid ${money(captured)} by card`;
    case 'void': return 'Nothing was charged.';
    case 'refund_pending': return refundWords(order);
    case 'refunded': return `${money(refunded)} went back to you.`;
    case 'partially_refunded': return `${money(refunded)} of ${money(captured)} went back to you.`;
    case 'unknown':
    case 'pending': return FINAL.includes(order.status) ? IN_DOUBT : '';
    default: return '';
  }
}

/** cancelWords say what becomes of the money when the order is cancelled. */
export function cancelWords({ payment: { method, status, captured, refunded } }) {
  if (captured > refunded) return method === 'card' ? 'What you paid goes back to your card.' : 'What you paid goes back to you at the counter.';
  return ['pending', 'unknown'].includes(status) ? IN_DOUBT : '';
}
