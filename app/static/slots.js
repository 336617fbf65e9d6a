// When to pick up: as soon as possible, or a free slot today, tomorrow, or on the day of the next free one.
import { call } from './api.js';
import { fill, h, one } from './dom.js';
import { clock, endOfDay, localDay, longDay } from './times.js';

/** slotPicker fills the two selects. Its value is a time, or undefined for as soon as possible. */
export function slotPicker(store) {
  const day = one('#day');
  const time = one('#slot');
  let accepting = true;
  let newest = 0;

  days();
  day.addEventListener('change', () => load());

  // A page may stay open over midnight.
  function days() {
    const today = localDay(Date.now());
    if (day.options[0]?.value !== today) fill(day, h('option', { value: today }, 'Today'), h('option', { value: localDay(endOfDay()) }, 'Tomorrow'));
  }

  // The time that was chosen stays chosen.
  async function load(wanted = time.value) {
    const mine = ++newest;
    let slots = [];
    fill(time, soonest() || h('option', { value: '', disabled: true }, 'Looking'));
    try {
      ({ slots } = await call('GET', `/v1/stores/${store}/slots?date=${day.value}`));
    } catch {
      // Without the list, as soon as possible can still be had.
    }
    if (mine === newest) draw(slots, wanted);
  }

  const soonest = () => day.selectedIndex === 0 && accepting && h('option', { value: '' }, 'Soonest');

  function draw(slots, wanted) {
    const soon = soonest();
    const free = slots.filter((slot) => new Date(slot.starts_at) > Date.now());
    const options = free.map((slot) => h('option', { value: slot.starts_at, disabled: slot.free === 0 }, slotWords(slot)));
    const none = !soon && !options.length && h('option', { value: '', disabled: true }, 'No free time');
    fill(time, soon, options, none);
    const match = free.find((slot) => wanted && new Date(slot.starts_at) <= new Date(wanted) && new Date(wanted) < new Date(slot.ends_at));
    if (match) time.value = match.starts_at;
  }

  return {
    load,
    open(on) {
      accepting = on;
      days();
      return load();
    },
    get value() {
      return time.value || undefined;
    },
    get missing() {
      return time.selectedOptions.length === 0 || time.selectedOptions[0].disabled;
    },
    async choose(at) {
      const its = localDay(at);
      if (![...day.options].some(({ value }) => value === its)) day.append(h('option', { value: its }, longDay(at)));
      day.value = its;
      await load(at);
      if (time.value) return;
      time.append(h('option', { value: at }, clock(at))); // the list cannot be read, but the shop has named this one
      time.value = at;
    },
  };
}

function slotWords(slot) {
  if (slot.free === 0) return `${clock(slot.starts_at)} (full)`;
  return slot.free != null && slot.free <= 3 ? `${clock(slot.starts_at)} (${slot.free} left)` : clock(slot.starts_at);
}
