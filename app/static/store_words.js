// A store's state in words, as the server writes them on its pages.
import { clock } from './times.js';

/** stateOf is a word for the style sheet: open, paused or closed. */
export function stateOf(store) {
  if (store.paused_until && new Date(store.paused_until) > Date.now()) return 'paused';
  return store.accepting ? 'open' : 'closed';
}

export function stateWords(store) {
  switch (stateOf(store)) {
    case 'paused': return `Taking a short break until ${clock(store.paused_until)}`;
    case 'open': return store.wait_minutes < 1 ? 'Open now, no wait' : `Open now, about ${store.wait_minutes} min`;
    default: return 'Closed now';
  }
}
