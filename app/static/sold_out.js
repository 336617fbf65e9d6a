// The list of what can be sold out: items, and options of items.
import { call } from './api.js';
import { itemsOf, optionsOf } from './choices.js';
import { closable, fill, h, one } from './dom.js';
import { steady } from './steady.js';
import { MINUTE, back, endOfDay } from './times.js';

const sheet = one('#sold-out-sheet');
closable(sheet);

/** soldOutList opens with open(); push(type, fields) sends a command, pending() are those that wait, now() is the shop's clock. */
export function soldOutList(store, { push, pending, now }) {
  let menu;
  let asked = ''; // the thing for which the times are being offered
  const search = h('input', { type: 'search', 'aria-label': 'Find an item or option', placeholder: 'Find an item or option', oninput: () => draw() });
  const list = h('div');
  const keyOf = (thing) => `${thing.kind}-${thing.id}`;
  const keyed = (key) => one(`[data-key="${key}"]`, list);
  fill(sheet, h('div', { class: 'sold-out' },
    h('button', { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => sheet.close() }),
    h('h2', { id: 'sold-out-title', tabindex: '-1', autofocus: true }, 'Sold out'), search, list));

  async function load() {
    try {
      menu = await call('GET', `/v1/stores/${store}/menu`);
    } catch {
      // What is waiting to be sent still shows on what was known.
    }
    if (sheet.open) draw();
  }

  // Only the list, for what is drawn anew loses what is being typed in it.
  const draw = steady(() => {
    const focus = document.activeElement?.dataset.key;
    fill(list, menu ? sections() : h('p', { class: 'waiting' }, 'The menu cannot be read while the connection is lost.'));
    if (focus) keyed(focus)?.focus();
  });

  function sections() {
    const items = itemsOf(menu);
    const options = new Map(items.flatMap(optionsOf).map((option) => [option.id, option]));
    const rows = (kind, things) => things.map((thing) => ({ kind, ...thing, ...ahead(kind, thing) })).filter((thing) => thing.name.toLowerCase().includes(search.value.trim().toLowerCase()));
    const all = [...rows('item', items), ...rows('option', [...options.values()])];
    const out = all.filter((thing) => !thing.available);
    return [
      section('Sold out now', out),
      section('Items', all.filter((thing) => thing.kind === 'item' && thing.available)),
      section('Options', all.filter((thing) => thing.kind === 'option' && thing.available)),
    ];
  }

  // A command that still waits is what the barista expects to see.
  function ahead(kind, thing) {
    const last = pending().findLast((command) => command[kind] === thing.id);
    if (!last) return {};
    return last.type === 'sold_out' ? { available: false, available_from: last.until, unsent: true } : { available: true, unsent: true };
  }

  function section(title, things) {
    if (!things.length) return '';
    return [h('h3', null, title), h('ul', null, things.map(row))];
  }

  function row(thing) {
    const key = keyOf(thing);
    const small = [thing.available ? '' : back(thing.available_from) || 'until further notice', thing.unsent && 'not sent yet'].filter(Boolean).join(', ');
    return h('li', null, h('span', { class: 'thing' }, thing.name, small && h('small', null, small)), acts(thing, key));
  }

  function acts(thing, key) {
    const button = (words, part, act) => h('button', { type: 'button', class: 'button', 'aria-label': `${thing.name}: ${words}`, 'data-key': `${key}-${part}`, onclick: act }, words);
    if (!thing.available) return button('Bring back', 'back', () => send('available', thing));
    if (asked !== key) return button('Sold out', 'ask', () => { asked = key; draw(); keyed(`${key}-30`)?.focus(); });
    return [
      button('30 min', '30', () => send('sold_out', thing, new Date(now() + 30 * MINUTE))),
      button('Today', 'day', () => send('sold_out', thing, endOfDay(now()))),
      button('Until further notice', 'on', () => send('sold_out', thing)),
    ];
  }

  // What the shop has taken holds before the menu has been read again.
  function answered(command, result) {
    if (result.result === 'applied') {
      const named = command.item ? itemsOf(menu) : itemsOf(menu).flatMap(optionsOf);
      named.filter(({ id }) => id === (command.item ?? command.option))
        .forEach((thing) => Object.assign(thing, { available: command.type === 'available', available_from: command.until }));
    }
    return load();
  }

  function send(type, thing, until) {
    asked = '';
    push(type, { [thing.kind]: thing.id, ...(until && { until: until.toISOString() }) });
    draw();
    keyed(`${keyOf(thing)}-${type === 'sold_out' ? 'back' : 'ask'}`)?.focus({ preventScroll: true }); // it may have moved far away
  }

  return {
    answered,
    draw: () => sheet.open && draw(),
    open() {
      asked = '';
      search.value = '';
      draw();
      sheet.showModal();
      load();
    },
  };
}
