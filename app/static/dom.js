// Building and finding elements, so that no page needs innerHTML.

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/**
 * h('button', { class: 'primary', onclick: buy }, 'Buy') is that button. A property that is a function listens,
 * true and '' set an empty attribute, false and nullish leave it out.
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...solid(children));
  return element;
}

/** fill replaces what is inside an element; nullish and false children are left out. */
export function fill(element, ...children) {
  element.replaceChildren(...solid(children));
}

// Lists within lists become one, and what is not there (false, null, '') is left out.
const solid = (children) => children.flat(3).filter((child) => child !== false && child != null && child !== '');

/** flag sets or removes an attribute without a value. */
export function flag(element, name, on) {
  element.toggleAttribute(name, Boolean(on));
}

/** say puts words into a notice; bad ones look bad. Nothing at all empties it. */
export function say(notice, words, { bad = false } = {}) {
  notice.classList.toggle('bad', bad);
  notice.hidden = !words;
  fill(notice, ...[words ?? ''].flat());
}

/** stepper is a number with a button on each side; step(-1) and step(1) are called. */
export function stepper(name, step) {
  const less = h('button', { type: 'button', 'data-step': '-1', 'aria-label': `Less: ${name}`, onclick: () => step(-1) });
  const more = h('button', { type: 'button', 'data-step': '1', 'aria-label': `More: ${name}`, onclick: () => step(1) });
  const count = h('b', { 'aria-live': 'polite' });
  const element = h('span', { class: 'stepper', role: 'group', 'aria-label': name }, less, count, more);
  return {
    element,
    set(units, mayLess, mayMore) {
      if (count.textContent !== String(units)) count.textContent = units; // said aloud only when it changes
      less.disabled = !mayLess;
      more.disabled = !mayMore;
    },
  };
}

/** closable makes a dialog close when its backdrop is pressed. */
export function closable(dialog) {
  dialog.addEventListener('click', (press) => {
    if (press.target === dialog) dialog.close();
  });
}
