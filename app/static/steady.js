// Nothing is drawn anew under a finger, or what it presses would be gone before it is lifted and the tap would be lost.

const LONGEST = 1000; // of a press that holds up drawing, in milliseconds
const CLICK = 50; // how long after it was lifted a tap may become a click

const waiting = new Map();
let down = false;
let timer;

function lift() {
  clearTimeout(timer);
  down = false;
  const draws = [...waiting];
  waiting.clear();
  draws.forEach(([draw, values]) => draw(...values));
}

/**
 * steady(draw) draws like draw, but never under a finger: what is pressed stays where it is until the press has become a
 * click. Of several draws meanwhile only the last is made.
 */
export function steady(draw) {
  return (...values) => {
    waiting.delete(draw);
    if (down) waiting.set(draw, values);
    else draw(...values);
  };
}

const liftIn = (milliseconds) => {
  clearTimeout(timer);
  timer = setTimeout(lift, milliseconds);
};
addEventListener('pointerdown', () => { down = true; liftIn(LONGEST); }, true);
addEventListener('pointerup', () => liftIn(CLICK), true);
addEventListener('pointercancel', lift, true);
addEventListener('click', () => { down = false; liftIn(0); }, true);
