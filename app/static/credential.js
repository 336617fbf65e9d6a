// A token that this browser keeps: an order's, or a device's.
import { forget, keep, kept } from './keep.js';

/**
 * credential is the token that came in the fragment of the address, which no server sees, or else the one that is kept
 * under a name. One that came leaves the address and is kept, by save(token), only when it has opened something: a link
 * that anybody may send must not cost this browser the token it has.
 */
export function credential(param, name, save = (token) => keep(name, token)) {
  const given = new URLSearchParams(location.hash.slice(1)).get(param);
  let proved = !given;
  const clean = () => history.replaceState(null, '', location.pathname);
  return {
    token: given ?? kept(name),
    /** opened says that the token is good. */
    opened() {
      if (proved) return;
      proved = true;
      save(given);
      clean();
    },
    /** refused forgets a token that is no good. Where another one came, the page starts again with the one that is kept. */
    refused() {
      if (proved) return forget(name);
      clean();
      if (kept(name)) location.reload();
    },
  };
}
