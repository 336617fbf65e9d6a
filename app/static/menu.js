// A store's menu page: items open, the basket fills, what is sold out shows at once.
import { call } from './api.js';
import { openBasket } from './basket.js';
import { basketPanel } from './basket_panel.js';
import { checkout } from './checkout.js';
import { itemsOf } from './choices.js';
import { all, fill, flag, h, one, say } from './dom.js';
import { openItem } from './item.js';
import { kept } from './keep.js';
import { bannerWords, stateOf, stateWords } from './store_words.js';
import { DAY, back } from './times.js';

const { store } = document.body.dataset;
const AGAIN = 30_000; // how often an open page looks for what has changed

let menu;
let shop;
const basket = openBasket(store);
const panel = basketPanel(store, basket, { menu: () => menu, edit });
checkout(store, basket, panel, { now: () => shop, look });

const cardOf = (id) => one(`.item[data-item="${CSS.escape(id)}"]`);
const itemOf = (id) => itemsOf(menu).find((item) => item.id === id);
const drawingOf = (id) => one('img', cardOf(id) ?? document)?.getAttribute('src') ?? '/static/art/cup.svg';

async function look() {
  const first = !menu;
  try {
    [menu, shop] = await Promise.all([call('GET', `/v1/stores/${store}/menu`), call('GET', `/v1/stores/${store}`)]);
  } catch {
    return; // the printed menu stays; the next look comes soon
  }
  itemsOf(menu).forEach(mark);
  banner();
  if (first || panel.stuck) panel.refresh();
}

function mark(item) {
  const card = cardOf(item.id);
  if (!card) return;
  flag(card, 'data-sold-out', !item.available);
  const words = item.available ? '' : ['Sold out', back(item.available_from)].filter(Boolean).join(', ');
  one('button', card).setAttribute('aria-disabled', String(!item.available));
  if (one('.item-sold-out', card).textContent !== words) one('.item-sold-out', card).textContent = words;
}

// What has not changed is left as it is, for it would be read aloud again.
function banner() {
  const place = one('#store-banner');
  const state = one('.shop-head .state');
  const words = one('span:last-child', state);
  state.dataset.state = stateOf(shop);
  if (words.textContent !== stateWords(shop)) words.textContent = stateWords(shop);
  place.hidden = stateOf(shop) === 'open';
  const [news, more] = bannerWords(shop);
  if (!place.hidden && place.textContent !== news + more) fill(place, h('strong', null, news), more);
}

async function open(id) {
  if (!menu) await look();
  if (!menu) return unreachable();
  const item = itemOf(id);
  if (!item?.available) return;
  openItem(item, { drawing: drawingOf(id), done: add });
}

function add(line) {
  if (basket.add(line)) return;
  panel.open();
  say(one('#basket-notice'), 'The basket is full: there are as many different things in it as go into one order.', { bad: true });
}

// The next look that succeeds says again how things stand.
function unreachable() {
  const place = one('#store-banner');
  fill(place, h('strong', null, 'We cannot reach the shop.'), ' Please try again in a moment.');
  place.hidden = false;
}

function edit(at) {
  const line = basket.lines[at];
  const item = itemOf(line.item);
  if (item) openItem(item, { drawing: drawingOf(line.item), line, done: (changed) => basket.replace(at, changed) });
}

// The part of the menu being read is marked in the sticky list.
function followReading() {
  const links = new Map(all('.aisles a').map((link) => [link.hash.slice(1), link]));
  const mark = (id) => {
    links.forEach((link, each) => (each === id ? link.setAttribute('aria-current', 'true') : link.removeAttribute('aria-current')));
    const link = links.get(id);
    link?.closest('ul').scrollTo({ left: link.offsetLeft - 40 });
  };
  const watcher = new IntersectionObserver((entries) => {
    const seen = entries.find((entry) => entry.isIntersecting);
    if (seen) return mark(seen.target.id);
    if (entries.some((entry) => entry.boundingClientRect.top > entry.rootBounds.bottom)) mark(); // above the menu nothing is being read
  }, { rootMargin: '-20% 0px -70% 0px' });
  all('.category').forEach((category) => watcher.observe(category));
}

function lastOrder() {
  const last = kept('frenchpress.last');
  if (last?.store !== store || Date.now() - last.at > DAY / 4) return;
  const place = one('#last-order');
  fill(place, 'You ordered here: ', h('a', { href: `/${store}/orders/${last.id}` }, `order ${last.number}`));
  place.hidden = false;
}

one('#menu').addEventListener('click', (press) => {
  const card = press.target.closest('.item-open')?.closest('.item');
  if (card) open(card.dataset.item);
});
document.addEventListener('visibilitychange', () => document.hidden || look());
addEventListener('pageshow', (shown) => shown.persisted && location.reload()); // back from an order: begin afresh
setInterval(() => document.hidden || look(), AGAIN);
followReading();
lastOrder();
await look();
if (!menu) panel.refresh();
