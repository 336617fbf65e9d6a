// A live stream, read with fetch and not with EventSource: the token travels in a header instead of an address, a refusal
// says why, and heartbeats are heard, so that a connection that died in silence is noticed.
import { Problem, refusal } from './api.js';
import { backOff } from './times.js';

const SILENCE = 25_000; // the server says something at least every 15 s
const LONGEST = 32_000_000; // characters of one message: a board with more than the counter has room for

/**
 * follow keeps a stream open until stop() is called. on.message(value) gets each message, on.down() tells that what was
 * shown may be old, on.refused(problem) that the token does not open this stream; then nothing more comes. heard() is when
 * the server was last heard.
 */
export function follow(path, token, on) {
  const state = { on, ended: false, open: false, heard: 0, tries: 0, connection: new AbortController(), wake: () => {} };
  const cut = () => state.connection.abort();
  const look = () => {
    if (state.open && Date.now() - state.heard > SILENCE) cut();
  };
  const back = () => {
    look();
    state.wake();
  };
  const clock = setInterval(look, 5000);
  addEventListener('offline', cut);
  addEventListener('online', back);
  document.addEventListener('visibilitychange', back);
  run(path, token, state);
  return {
    heard: () => state.heard,
    stop() {
      state.ended = true;
      cut();
      clearInterval(clock);
      removeEventListener('offline', cut);
      removeEventListener('online', back);
      document.removeEventListener('visibilitychange', back);
    },
  };
}

async function run(path, token, state) {
  while (!state.ended) {
    state.connection = new AbortController();
    let wait;
    try {
      await listen(path, token, state);
    } catch (error) {
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) {
        state.ended = true;
        return state.on.refused(error);
      }
      wait = error.retryAfter;
    }
    state.open = false;
    if (state.ended) return;
    state.on.down();
    await pause(wait ?? backOff(state.tries++, 15_000), state);
  }
}

// The wait ends early when the network or the reader comes back, but never hammers.
function pause(milliseconds, state) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    state.wake = () => {
      clearTimeout(timer);
      setTimeout(done, Math.min(milliseconds, 500));
    };
  });
}

async function listen(path, token, state) {
  const asked = setTimeout(() => state.connection.abort(), SILENCE);
  const response = await fetch(path, {
    headers: { Accept: 'text/event-stream', Authorization: `Bearer ${token}` },
    signal: state.connection.signal, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer',
  }).finally(() => clearTimeout(asked));
  if (!response.ok) throw refusal(response, await response.text());
  Object.assign(state, { open: true, heard: Date.now() });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    state.heard = Date.now();
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    if (text.length > LONGEST) throw new Error('a message without an end');
    for (const block of blocks) deliver(block, state);
  }
}

function deliver(block, state) {
  const data = block.split(/\r?\n/).filter((line) => line.startsWith('data:')).map((line) => line.slice(5).replace(/^ /, ''));
  if (!data.length || state.ended) return;
  state.tries = 0;
  state.on.message(JSON.parse(data.join('\n')));
}
