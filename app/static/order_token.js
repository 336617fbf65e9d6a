// The token of an order, which opens it to whoever ordered.
import { keep, kept } from './keep.js';

export const tokenName = (id) => `frenchpress.token.${id}`;

/** takeToken is the order's token. It arrives in the fragment, which no server sees, and leaves the address at once. */
export function takeToken(id) {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    keep(tokenName(id), given);
    history.replaceState(null, '', location.pathname);
  }
  return given ?? kept(tokenName(id));
}
