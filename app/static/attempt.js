// One try to order or to pay: a key and exact bytes, kept until the shop's answer is known. Sent again after a lost
// answer they make no second order and no second charge.
import { Problem, call } from './api.js';
import { forget, keep, kept, newId } from './keep.js';
import { backOff, sleep } from './times.js';

const TRIES = 6;
const OLDEST = 23 * 3600 * 1000; // the shop remembers a key for at least a day

const nameOf = (subject) => `frenchpress.attempt.${subject}`;

/** unanswered is the attempt whose answer never came, if it can still be asked for. */
export function unanswered(subject) {
  const attempt = kept(nameOf(subject));
  if (attempt && Date.now() - attempt.at < OLDEST) return attempt;
  forget(nameOf(subject));
  return undefined;
}

export const giveUp = (subject) => forget(nameOf(subject));

/**
 * send posts the attempt, or the unanswered one of that subject, until it has an answer: the success, or a Problem that
 * stays. After a few tries in vain the last error is thrown and the attempt kept. trying(n) is called before a repeat.
 */
export async function send(subject, { path, token, body, trying }) {
  const attempt = unanswered(subject) ?? { key: newId(), path, body: JSON.stringify(body), at: Date.now() };
  keep(nameOf(subject), attempt);
  let last;
  for (let tries = 0; tries < TRIES; tries++) {
    if (tries > 0) {
      await sleep(last.retryAfter ?? backOff(tries, 8000));
      trying?.(tries);
    }
    try {
      const answer = await call('POST', attempt.path, { body: attempt.body, token, headers: { 'Idempotency-Key': attempt.key } });
      forget(nameOf(subject));
      return answer;
    } catch (error) {
      last = error;
      if (!(error instanceof Problem) || error.passing) continue;
      forget(nameOf(subject));
      throw error;
    }
  }
  throw last;
}
