// Money as the server writes it: the page says how its currency is written.

const { symbol = '', digits = '2' } = document.body.dataset;
const places = Number(digits);

/** money writes an amount in minor units: $1,234.50, ¥500. */
export function money(minor) {
  const figures = String(Math.abs(minor)).padStart(places + 1, '0');
  const whole = figures.slice(0, figures.length - places).replace(/\B(?=(\d{3})+$)/g, ',');
  const rest = places > 0 ? `.${figures.slice(-places)}` : '';
  return `${minor < 0 ? '−' : ''}${symbol}${whole}${rest}`;
}

/** minorOf reads what somebody typed ("1.50", "1,5") as minor units, or NaN. */
export function minorOf(text) {
  const match = /^(\d{1,9})(?:[.,](\d*))?$/.exec(text.trim().replace(symbol.trim(), '').trim());
  if (!match || (match[2] ?? '').length > places) return NaN;
  return Number(match[1] + (match[2] ?? '').padEnd(places, '0'));
}
