// Every tap on the board is a command. It is kept until the shop has answered it, sent again as often as that takes, in
// the order of the taps. Its id makes the repeats harmless.
import { Problem, call } from './api.js';
import { forget, keep, kept, keptNames, newId } from './keep.js';
import { backOff } from './times.js';

const AT_ONCE = 100;
const MOST = 1000; // waiting taps; a shop that is cut off longer needs paper

/** SOON is how long a tap may wait for its answer before anything is said of it, in milliseconds. */
export const SOON = 700;

/** slow tells of a tap that has waited for longer than taps do, now being the shop's. */
export const slow = (command, now) => now - new Date(command.occurred_at) > SOON;

/**
 * commandQueue sends what is pushed. answered(command, result) is called once for each, changed() whenever what waits is
 * different, refused() when the device is not let in any more. now() is the shop's clock, by which taps at several devices
 * are put in order.
 */
export function commandQueue(store, token, { answered, changed, refused, now }) {
  const prefix = `frenchpress.command.${store}.`;
  const waiting = new Map(keptNames(prefix).map((name) => [name, kept(name)]).filter(([, command]) => command?.id));
  const queue = { sending: false, atOnce: AT_ONCE, tries: 0, timer: 0 };

  function push(type, fields = {}) {
    if (waiting.size >= MOST) return false;
    const seq = (kept(`frenchpress.seq.${store}`) ?? 0) + 1;
    keep(`frenchpress.seq.${store}`, seq);
    const command = { id: newId(), device_seq: seq, type, ...fields, occurred_at: new Date(now()).toISOString() };
    // One name each, so that two windows of one device never write over each other.
    const name = `${prefix}${String(seq).padStart(12, '0')}.${command.id}`;
    waiting.set(name, command);
    keep(name, command);
    changed();
    flush();
    return true;
  }

  async function flush() {
    clearTimeout(queue.timer);
    if (queue.sending) return;
    queue.sending = true;
    try {
      while (waiting.size && (await alone(sendSome)));
    } finally {
      queue.sending = false;
    }
  }

  async function sendSome() {
    const batch = [...waiting].slice(0, queue.atOnce);
    try {
      const { results } = await call('POST', `/v1/stores/${store}/commands`, { token, body: { commands: batch.map(([, command]) => command) }, wait: 10_000 });
      const byId = new Map(results.map((result) => [result.id, result]));
      if (batch.some(([, command]) => !byId.has(command.id))) throw new Error('an answer without all its results');
      batch.forEach(([name, command]) => settle(name, command, byId.get(command.id)));
      queue.atOnce = AT_ONCE;
      queue.tries = 0;
      return true;
    } catch (error) {
      return failed(error, batch);
    }
  }

  function settle(name, command, result) {
    waiting.delete(name);
    forget(name);
    answered(command, result);
    changed();
  }

  function failed(error, batch) {
    if (error instanceof Problem && [401, 403].includes(error.status)) {
      refused(error);
      return false;
    }
    if (!(error instanceof Problem) || error.passing) {
      queue.timer = setTimeout(flush, error.retryAfter ?? backOff(queue.tries++, 10_000));
      return false;
    }
    // One bad command must not hold up the others: send them one by one, and drop the one that is refused alone.
    if (batch.length > 1) queue.atOnce = 1;
    else settle(...batch[0], { result: 'rejected', reason: error.errors[0]?.detail ?? error.message });
    return true;
  }

  return { push, flush, pending: () => [...waiting.values()] };
}

// Windows of one device take turns, where the browser can arrange it.
function alone(work) {
  return navigator.locks ? navigator.locks.request('frenchpress.commands', work) : work();
}

/** project is the order as it will be once the waiting commands are through, now being the shop's. */
export function project(order, commands, now) {
  return commands.reduce(step, { ...order, payment: { ...order.payment }, waiting: commands.length > 0, unsent: commands.some((command) => slow(command, now)) });
}

function step(order, command) {
  const go = (status, versions = 1) => ({ ...order, status, version: order.version + versions });
  switch (`${command.type} ${order.status}`) {
    case 'start placed': return go('in_progress');
    case 'ready placed': return go('ready', 2);
    case 'ready in_progress': return go('ready');
    case 'collect ready': return order.payment.status === 'due' ? order : go('picked_up');
    case 'undo in_progress': return command.base_version === order.version ? go('placed') : order;
    case 'undo ready': return command.base_version === order.version ? go('in_progress') : order;
    case 'cancel placed':
    case 'cancel in_progress': return go('cancelled');
  }
  if (command.type !== 'take_payment' || order.payment.status !== 'due') return order;
  return { ...go(order.status), payment: { ...order.payment, status: 'captured' } };
}

const REASONS = {
  unpaid: 'Not paid yet. Take the payment first.',
  not_paid: 'The payment has not gone through yet.',
  not_ready: 'It is not ready yet.',
  picked_up: 'It has been picked up already.',
  nothing_to_undo: 'There is nothing to undo.',
  already_made: 'It is made already and cannot be cancelled.',
  not_counter: 'It is not to be paid at the counter.',
  unknown_order: 'The shop does not know this order.',
  unknown_item: 'This is not on the menu any more.',
  unknown_option: 'This is not on the menu any more.',
  command_reused: 'The shop took this tap for another one. Please tap again.',
};

const ENDED = { cancelled: 'cancelled', expired: 'closed because it was not paid', abandoned: 'cleared away because nobody came' };
const STANDS = { placed: 'placed', in_progress: 'in progress', ready: 'ready', picked_up: 'picked up' };

/** resultWords is what a barista is told of an answer; nothing if all went as tapped. */
export function resultWords(command, result) {
  const status = result.order?.status;
  switch (result.result) {
    case 'applied': return '';
    case 'noop': return command.type === 'start' && result.holder ? `Started already on ${result.holder.replace(/^device:/, '')}.` : '';
    case 'superseded': return status ? `Somebody was faster: it is ${STANDS[status] ?? ENDED[status] ?? status} now.` : 'A later change elsewhere counts.';
    case 'conflict': return `This order was ${ENDED[status ?? result.reason] ?? 'finished otherwise'} meanwhile. Do not make it.`;
    default: return REASONS[result.reason] ?? `The shop refused this: ${result.reason ?? 'no reason given'}.`;
  }
}
