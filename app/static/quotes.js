// Prices come from the server alone.
import { Problem, call } from './api.js';
import { backOff, sleep } from './times.js';

const DELAY = 120; // a finger that taps three times asks once
const TRIES = 4;

/**
 * quoter returns ask(request). show is called with {state: 'asking'} at once and then with {state: 'priced', quote},
 * {state: 'refused', problem} or {state: 'unreachable'}, for the newest request only.
 */
export function quoter(store, show) {
  let newest = new AbortController();
  return async function ask(request) {
    newest.abort();
    const mine = (newest = new AbortController());
    if (!request) return;
    show({ state: 'asking' });
    await sleep(DELAY);
    if (mine.signal.aborted) return;
    const answer = await quote(store, request, mine.signal);
    if (!mine.signal.aborted) show(answer);
  };
}

async function quote(store, request, signal) {
  for (let tries = 0; tries < TRIES && !signal.aborted; tries++) {
    try {
      const priced = await call('POST', `/v1/stores/${store}/quotes`, { body: request, signal, wait: 8000 });
      return { state: 'priced', quote: priced };
    } catch (error) {
      if (error instanceof Problem && !error.passing) return { state: 'refused', problem: error };
      if (tries + 1 < TRIES) await sleep(error.retryAfter ?? backOff(tries));
    }
  }
  return { state: 'unreachable' };
}
