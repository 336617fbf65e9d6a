// What an item has by itself, which a ticket says more quietly than what somebody chose.
import { call } from './api.js';
import { itemsOf, optionsOf } from './choices.js';

/**
 * usualOptions knows the options that items have by themselves, as far as the menu has been read: is(line, option) tells
 * whether this is one. load() reads the menu, and changed() is called when that made a difference.
 */
export function usualOptions(store, changed) {
  let version;
  let units = new Map();

  async function load() {
    try {
      const menu = await call('GET', `/v1/stores/${store}/menu`);
      if (menu.version === version) return;
      version = menu.version;
      units = new Map(itemsOf(menu).map((item) => [item.id, defaults(item)]));
      changed();
    } catch {
      // Then tickets say everything alike.
    }
  }

  return { load, is: (line, option) => units.get(line.item)?.get(option.id) === option.units };
}

const defaults = (item) => new Map(optionsOf(item).map((option) => [option.id, option.default_units]));
