// Times of day, always as the clock on the store's wall shows them.

const here = document.body.dataset.timezone || undefined; // a list of stores has none: there each store's own is given
const known = new Map();

const formsIn = (timeZone) => ({
  clock: new Intl.DateTimeFormat('en-US', { timeZone, hour: 'numeric', minute: '2-digit' }),
  seconds: new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  day: new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' }),
  weekday: new Intl.DateTimeFormat('en-US', { timeZone, weekday: 'short' }),
  date: new Intl.DateTimeFormat('en-US', { timeZone, month: 'short', day: 'numeric' }),
  year: new Intl.DateTimeFormat('en-US', { timeZone, year: 'numeric', month: 'short', day: 'numeric' }),
  long: new Intl.DateTimeFormat('en-US', { timeZone, year: 'numeric', month: 'long', day: 'numeric' }),
});

function show(form, at, zone = here) {
  if (!known.has(zone)) known.set(zone, formsIn(zone));
  return known.get(zone)[form].format(new Date(at));
}

export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;

/** clock is a time of day: 3:15 pm. */
export const clock = (at, zone) => show('clock', at, zone).replace(/\s?([AP])M$/, (_, half) => ` ${half.toLowerCase()}m`);

/** seconds is a time of day to the second: 15:04:05. */
export const seconds = (at) => show('seconds', at);

/** localDay is the date at the store: 2026-11-23. */
export const localDay = (at, zone) => show('day', at, zone);

/** longDay is the date at the store as people write it: November 23, 2026. */
export const longDay = (at) => show('long', at);

/**
 * day is how the day of a moment is said before its time: nothing for today, tomorrow, Mon; and Mar 1, where a weekday
 * would mean one that is nearer. The server says the same (pages_words.go).
 */
export function day(at, now = Date.now(), zone) {
  const [then, today] = [localDay(at, zone), localDay(now, zone)];
  const ahead = (new Date(then) - new Date(today)) / DAY; // dates alone are read as UTC, where every day has 24 hours
  if (ahead === 0) return '';
  if (ahead === 1) return 'tomorrow ';
  if (ahead > 1 && ahead < 7) return `${show('weekday', at, zone)} `;
  return `${show(then.slice(0, 4) === today.slice(0, 4) ? 'date' : 'year', at, zone)}, `;
}

/** moment is a time of day with as much of the date as is needed. */
export const moment = (at, now, zone) => `${day(at, now, zone)}${clock(at, zone)}`;

/** when is a moment in the midst of a sentence: at 3:15 pm, tomorrow at 7:00 am. */
export const when = (at, now) => `${day(at, now)}at ${clock(at)}`;

/** back says when something sold out can be had again. */
export const back = (at, now) => (at ? `back ${day(at, now) || 'at '}${clock(at)}` : '');

/** endOfDay is the store's next midnight. Days with a change of clock have 23 or 25 hours, hence the search. */
export function endOfDay(now = Date.now()) {
  const today = localDay(now);
  let early = now;
  let late = now + 26 * 60 * MINUTE;
  while (late - early > 1000) {
    const middle = (early + late) / 2;
    if (localDay(middle) === today) early = middle;
    else late = middle;
  }
  return new Date(Math.round(late / MINUTE) * MINUTE);
}

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** backOff is how long to wait before the next try, in milliseconds: 0.5 s doubled each time up to a limit, spread by a third. */
export function backOff(tries, limit = 30_000) {
  const whole = Math.min(limit, 500 * 2 ** Math.min(tries, 10));
  return whole * (0.67 + Math.random() * 0.33);
}
