// What stands under the lines of a basket, an order or a receipt.
import { h } from './dom.js';
import { money } from './money.js';

/** sums are the rows of a quote or an order under its lines. */
export function sums(priced) {
  const rows = [['Subtotal', priced.subtotal], ['Discount', -priced.discount], ['Tax', priced.tax], ['Tip', priced.tip]];
  return [
    ...rows.filter(([name, amount]) => amount !== 0 || name === 'Subtotal').map(([name, amount]) => h('div', null, h('dt', null, name), h('dd', null, money(amount)))),
    h('div', { class: 'total' }, h('dt', null, 'Total'), h('dd', null, money(priced.total))),
  ];
}
