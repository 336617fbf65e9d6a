// Calls of the JSON API. There are three ends, unless the caller gives up: an answer, a Problem the server told, or
// Unreachable.

/** Problem is an answer that is not a success (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail || body.title || `The shop answered ${status}.`);
    this.status = status;
    this.code = body.code ?? '';
    this.errors = body.errors ?? [];
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** passing tells a Problem of the moment, worth another try, from one that stays. */
  get passing() {
    return this.status >= 500 || this.status === 429;
  }
}

/** Unreachable means that nobody knows what happened: the answer did not come or could not be read. */
class Unreachable extends Error {}

/** call sends one request. A string body goes out byte for byte; wait is in milliseconds. */
export async function call(method, path, { body, token, headers = {}, signal, wait = 15_000 } = {}) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), wait);
  const abort = () => stop.abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const response = await fetch(path, {
      method,
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
      headers: requestHeaders(body, token, headers),
      signal: stop.signal,
      cache: method === 'GET' ? 'no-cache' : 'no-store',
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
    });
    return await read(response);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

function requestHeaders(body, token, headers) {
  const all = { Accept: 'application/json', ...headers };
  if (body !== undefined) all['Content-Type'] = 'application/json';
  if (token) all.Authorization = `Bearer ${token}`;
  return all;
}

async function read(response) {
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  throw refusal(response, text);
}

/**
 * refusal is the Problem that the shop told, or a plain Error for what somebody between us and the shop said in its place:
 * a gateway's 404 says nothing of an order, and a token is not thrown away because of it.
 */
export function refusal(response, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    // Not the shop's words.
  }
  return body?.code ? new Problem(response.status, body, retryAfter(response)) : new Error(`status ${response.status} in foreign words`);
}

/** faultWords is the detail of a fault as a sentence of its own: "is sold out" has no subject where it stands alone. */
export function faultWords(detail) {
  return /^(is|must|has|comes|does)\b/.test(detail) ? `This ${detail}` : detail[0].toUpperCase() + detail.slice(1);
}

/** retryAfter is what the server asked to wait, in milliseconds, at most half a minute; undefined if it did not. */
export function retryAfter(response) {
  const wait = Number(response.headers.get('Retry-After'));
  return wait > 0 ? Math.min(wait, 30) * 1000 : undefined;
}
