// The token of an order, which opens it to whoever ordered.
import { forget, keep, kept, keptNames } from './keep.js';

const PREFIX = 'frenchpress.token.';
const KEPT = 50; // tokens of the newest orders

export const tokenName = (id) => `${PREFIX}${id}`;

/** keepToken keeps an order's token, and forgets those of long ago: ids are made in the order of time. */
export function keepToken(id, token) {
  keep(tokenName(id), token);
  keptNames(PREFIX).slice(0, -KEPT).forEach(forget);
}

/** takeToken is the order's token. It arrives in the fragment, which no server sees, and leaves the address at once. */
export function takeToken(id) {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    keepToken(id, given);
    history.replaceState(null, '', location.pathname);
  }
  return given ?? kept(tokenName(id));
}
