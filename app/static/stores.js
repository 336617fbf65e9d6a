// The chooser's enhancement: the stores nearest to where somebody stands.
import { call } from './api.js';
import { fill, h, one, say } from './dom.js';
import { stateOf, stateWords } from './store_words.js';

const button = one('#near');
const notice = one('#near-notice');

function here() {
  return new Promise((found, failed) => {
    navigator.geolocation.getCurrentPosition(found, failed, { timeout: 10_000, maximumAge: 300_000 });
  });
}

async function near() {
  button.disabled = true;
  say(notice, 'Looking around you');
  try {
    const { coords } = await here();
    const place = `${coords.latitude.toFixed(4)},${coords.longitude.toFixed(4)}`;
    const { stores } = await call('GET', `/v1/stores?limit=12&near=${place}`);
    draw(stores, coords);
    say(notice, '');
  } catch (error) {
    say(notice, error.code === 1 ? 'Your browser does not let us know where you are. Search by name or street instead.' : 'We could not find out. Search by name or street instead.', { bad: true });
  }
  button.disabled = false;
}

function draw(stores, coords) {
  one('#stores-title').textContent = 'Stores near you';
  one('.pager')?.remove();
  fill(one('#store-list'), stores.map((store) => h('li', null, h('a', { class: 'store', href: `/${store.slug}` },
    h('span', { class: 'store-name' }, store.name),
    h('span', { class: 'store-address' }, store.address),
    h('span', { class: 'state', 'data-state': stateOf(store) }, h('span', { class: 'dot', 'aria-hidden': 'true' }), h('span', null, stateWords(store)),
      h('span', { class: 'away' }, away(coords, store)))))));
  one('#stores').focus();
}

// The great circle between two places, in the unit people there use.
function away(from, to) {
  const rad = Math.PI / 180;
  const half = (angle) => Math.sin((angle * rad) / 2) ** 2;
  const a = half(to.lat - from.latitude) + Math.cos(from.latitude * rad) * Math.cos(to.lat * rad) * half(to.lon - from.longitude);
  const metres = 2 * 6_371_000 * Math.asin(Math.sqrt(a));
  if (navigator.language === 'en-US') return `${(metres / 1609).toFixed(1)} mi`;
  return metres < 950 ? `${Math.round(metres / 50) * 50} m` : `${(metres / 1000).toFixed(1)} km`;
}

if ('geolocation' in navigator && isSecureContext) {
  button.hidden = false;
  button.addEventListener('click', near);
}
