// The lines somebody is about to order in one store, kept in this browser.
import { keep, kept } from './keep.js';

const MOST_LINES = 50;
export const MOST_OF_A_LINE = 99;

const same = (a, b) => ['item', 'size', 'note'].every((part) => a[part] === b[part]) && JSON.stringify(a.options ?? []) === JSON.stringify(b.options ?? []);

/** openBasket is the store's basket; watch(listener) is called with it after every change, from another tab too. */
export function openBasket(store) {
  const name = `frenchpress.basket.${store}`;
  const listeners = [];
  const basket = {
    ...read(name),
    watch: (listener) => listeners.push(listener),
    add(line) {
      const twin = basket.lines.find((each) => same(each, line));
      if (twin) twin.quantity = Math.min(MOST_OF_A_LINE, twin.quantity + line.quantity);
      else if (basket.lines.length < MOST_LINES) basket.lines.push(line);
      else return false;
      changed();
      return true;
    },
    replace(at, line) {
      basket.lines[at] = line;
      changed();
    },
    remove(...places) {
      basket.lines = basket.lines.filter((_, at) => !places.includes(at));
      changed();
    },
    tipWith(tip) {
      basket.tip = tip;
      changed();
    },
    clear() {
      basket.lines = [];
      basket.tip = 0;
      changed();
    },
    count: () => basket.lines.reduce((sum, line) => sum + line.quantity, 0),
  };

  function changed() {
    keep(name, basket.lines.length ? { lines: basket.lines, tip: basket.tip } : undefined);
    listeners.forEach((listener) => listener(basket));
  }

  addEventListener('storage', (change) => {
    if (change.key !== name) return;
    Object.assign(basket, read(name));
    listeners.forEach((listener) => listener(basket));
  });
  return basket;
}

function read(name) {
  const { lines, tip } = kept(name) ?? {};
  return { lines: Array.isArray(lines) ? lines.slice(0, MOST_LINES) : [], tip: Number.isSafeInteger(tip) && tip > 0 ? tip : 0 };
}
