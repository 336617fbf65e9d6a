// The bell for a new order. Browsers let a page ring only after somebody touched it.
import { keep, kept } from './keep.js';

const NAME = 'frenchpress.sound';

/** bell wires the button that turns it on and off, and shows which it is; ring() rings if it is on. */
export function bell(button) {
  let audio;
  let wanted = kept(NAME) === true;

  function draw() {
    const ringing = wanted && audio?.state === 'running';
    button.setAttribute('aria-pressed', String(ringing));
    button.textContent = ringing ? 'Sound: on' : 'Sound: off';
  }

  async function wake() {
    audio ??= new AudioContext();
    audio.onstatechange = draw;
    await audio.resume();
    draw();
  }

  button.addEventListener('click', async () => {
    wanted = !(wanted && audio?.state === 'running');
    keep(NAME, wanted);
    if (wanted) await wake();
    draw();
    ring();
  });
  // Turned on before: the first touch of anything is enough.
  document.addEventListener('click', (press) => wanted && audio?.state !== 'running' && press.target !== button && wake());
  draw();

  function ring() {
    if (!wanted || audio?.state !== 'running') return;
    tone(audio, 880, 0);
    tone(audio, 1174.7, 0.16);
  }
  return { ring };
}

function tone(audio, pitch, delay) {
  const start = audio.currentTime + delay;
  const voice = new OscillatorNode(audio, { type: 'sine', frequency: pitch });
  const loudness = new GainNode(audio, { gain: 0 });
  loudness.gain.setValueAtTime(0, start);
  loudness.gain.linearRampToValueAtTime(0.5, start + 0.01);
  loudness.gain.exponentialRampToValueAtTime(0.001, start + 0.9);
  voice.connect(loudness).connect(audio.destination);
  voice.start(start);
  voice.stop(start + 1);
}

/** titleFlash shows words in the window's title until somebody looks. */
export function titleFlash() {
  const quiet = document.title;
  let timer;
  const stop = () => {
    clearInterval(timer);
    document.title = quiet;
  };
  document.addEventListener('visibilitychange', () => document.hidden || stop());
  return (words) => {
    if (!document.hidden) return;
    stop();
    document.title = words;
    timer = setInterval(() => { document.title = document.title === words ? quiet : words; }, 1000);
  };
}
