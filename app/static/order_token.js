// The token of an order, which opens it to whoever ordered.
import { credential } from './credential.js';
import { forget, keep, keptNames } from './keep.js';

const PREFIX = 'frenchpress.token.';
const KEPT = 50; // tokens of the newest orders

const tokenName = (id) => `${PREFIX}${id}`;

/** keepToken keeps an order's token, and forgets those of long ago: ids are made in the order of time. */
export function keepToken(id, token) {
  const lasts = keep(tokenName(id), token);
  keptNames(PREFIX).slice(0, -KEPT).forEach(forget);
  return lasts;
}

/** orderCredential is what opens an order here. */
export const orderCredential = (id) => credential('token', tokenName(id), (token) => keepToken(id, token));
