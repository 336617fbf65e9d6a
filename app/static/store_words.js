// A store's state in words, as the server writes them on its pages.
import { MINUTE, moment, when } from './times.js';

const SHORT = 60 * MINUTE; // how long a pause at most is to be called a short one

/** stateOf is a word for the style sheet: open, paused or closed. */
export function stateOf(store) {
  if (store.paused_until) return 'paused';
  return store.accepting ? 'open' : 'closed';
}

const short = ({ opens_at: again }) => again && new Date(again) - Date.now() <= SHORT;

export function stateWords(store) {
  const again = store.opens_at && moment(store.opens_at, Date.now(), store.timezone);
  switch (stateOf(store)) {
    case 'paused': return `Taking a ${short(store) ? 'short ' : ''}break${again ? ` until ${again}` : ''}`;
    case 'open': return store.wait_minutes < 1 ? 'Open now, no wait' : `Open now, about ${store.wait_minutes} min`;
    default: return again ? `Closed, opens ${again}` : 'Closed now';
  }
}

/** bannerWords are what a store says that takes no orders, and when it does again. */
export function bannerWords(store) {
  const again = store.opens_at;
  if (stateOf(store) === 'closed') return ['We are closed.', ` Have a look around${again ? `; we open ${moment(again)}` : ''}.`];
  return [`The bar is ${short(store) ? 'catching its breath' : 'taking a break'}.`, again ? ` New orders open again ${when(again)}.` : ''];
}
