// A token that this browser keeps: an order's, or a device's.
import { forget, keep, kept } from './keep.js';

/**
 * credential is the token that came in the fragment of the address, which no server sees, or else the one that is kept
 * under a name. One that came is kept, by save(token), only when it has opened something, for a link that anybody may send
 * must not cost this browser the token it has; and it leaves the address only if it could be kept.
 */
export function credential(param, name, save = (token) => keep(name, token)) {
  const given = new URLSearchParams(location.hash.slice(1)).get(param);
  const usable = /^[!-~]+$/.test(given ?? ''); // else no header could carry it
  const token = usable ? given : kept(name);
  let proved = !usable;
  const clean = () => history.replaceState(null, '', location.pathname);
  if (given !== null && !usable) clean();
  return {
    token,
    /** opened says that the token is good. */
    opened() {
      if (proved) return;
      proved = true;
      if (save(token)) clean();
    },
    /** refused forgets the token. Where another one is kept by now, the page starts again with that. */
    refused() {
      if (!proved) clean();
      if (kept(name) === token) return forget(name);
      if (kept(name)) location.reload();
    },
  };
}
