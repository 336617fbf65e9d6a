// What this browser remembers. A browser that refuses to remember gets a memory as long as the page.

const memory = new Map();

/** kept is what was kept under a name, or undefined. */
export function kept(name) {
  let text = memory.get(name);
  try {
    text ??= localStorage.getItem(name);
  } catch {
    // Only the memory.
  }
  try {
    return text == null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** keep remembers a value under a name; undefined forgets it. It tells whether that outlasts the page. */
export function keep(name, value) {
  if (value === undefined) {
    forget(name);
    return true;
  }
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(name, text);
    memory.delete(name); // what another page changes or forgets from now on counts
    return true;
  } catch {
    memory.set(name, text); // full or forbidden
    return false;
  }
}

export function forget(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // Nothing was kept there.
  }
}

/** keptNames are all names that begin so, in order. */
export function keptNames(prefix) {
  const names = new Set(memory.keys());
  try {
    for (let at = 0; at < localStorage.length; at++) names.add(localStorage.key(at));
  } catch {
    // Only the memory.
  }
  return [...names].filter((name) => name.startsWith(prefix)).sort();
}

/** newId is a random UUID; crypto.randomUUID is missing where a shop's own network has no TLS. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
