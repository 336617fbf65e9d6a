// Which messages a customer wants, on the page of an order. Each box is saved when it changes, one after the other.
import { call } from './api.js';
import { fill, h, one, say } from './dom.js';

const KINDS = {
  order_confirmed: 'We have your order', order_ready: 'It is ready', order_cancelled: 'It was cancelled',
  refund_issued: 'A refund', marketing: 'News and offers',
};
const CHANNELS = { email: 'By email', sms: 'By text message', push: 'On this device' };

const nameOf = ({ kind, channel }) => `${kind} ${channel}`;

/** offer shows the panel if the order has an address. path is the order's. */
export async function offer(path, token) {
  let preferences;
  try {
    ({ preferences } = await call('GET', `${path}/preferences`, { token }));
  } catch {
    return; // the next visit offers them
  }
  if (!preferences.length) return;
  const known = new Map();
  const boxes = new Map();
  let saved = Promise.resolve();
  const take = (all) => all.forEach((preference) => known.set(nameOf(preference), preference.allowed));
  const save = async (preference, box) => {
    const allowed = box.checked;
    try {
      take((await call('PUT', `${path}/preferences`, { token, body: { preferences: [{ ...preference, allowed }] } })).preferences);
      tell('Saved.');
    } catch {
      await look(preference, box, allowed);
    }
  };
  // An answer that got lost may have been a yes.
  const look = async (preference, box, wanted) => {
    let words = 'That did not get through, and nothing has changed. Please try again.';
    try {
      take((await call('GET', `${path}/preferences`, { token })).preferences);
      if (known.get(nameOf(preference)) === wanted) return tell('Saved.');
    } catch {
      words = 'We got no answer, so we do not know whether that was saved. Please try again later.';
    }
    if (box.checked === wanted) box.checked = known.get(nameOf(preference));
    tell(words, true);
  };
  take(preferences);
  for (const { kind, channel, allowed } of preferences) {
    const box = h('input', { type: 'checkbox', checked: allowed, onchange: () => (saved = saved.then(() => save({ kind, channel }, box))) });
    boxes.set(nameOf({ kind, channel }), h('label', { class: 'option' }, box, h('span', { class: 'option-name' }, KINDS[kind] ?? kind)));
  }
  const channels = [...new Set(preferences.map((preference) => preference.channel))];
  fill(one('#preferences-boxes'), channels.map((channel) => h('fieldset', {}, h('legend', {}, CHANNELS[channel] ?? channel),
    preferences.filter((preference) => preference.channel === channel).map((preference) => boxes.get(nameOf(preference))))));
  one('#preferences').hidden = false;
}

function tell(words, bad = false) {
  say(one('#preferences-notice'), words, { bad });
}
