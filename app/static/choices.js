// What may be chosen of an item. Units count quantity; a missing limit is no limit.

/** begin is the choice an item starts with, or that of a line already in the basket. */
export function begin(item, line) {
  const units = new Map();
  for (const option of optionsOf(item)) units.set(option.id, option.available ? option.default_units : 0);
  for (const named of line?.options ?? []) name(item, units, named);
  const known = item.sizes.some((size) => size.id === line?.size);
  return { size: known ? line.size : (item.sizes[0]?.id ?? ''), units };
}

function name(item, units, named) {
  const group = item.option_groups.find((each) => each.options.some((option) => option.id === named.id));
  const option = group?.options.find((each) => each.id === named.id);
  if (!option || (!option.available && named.units > 0)) return;
  if (named.units > 0) only(group, units, named.id);
  units.set(named.id, Math.min(named.units, option.max_units));
}

function only(group, units, id) {
  if (!group.substitution) return;
  for (const other of group.options) if (other.id !== id) units.set(other.id, 0);
}

/** itemsOf are all items of a menu; none where it has not been read. */
export const itemsOf = (menu) => menu?.categories.flatMap((category) => category.items) ?? [];

/** optionsOf are all options of an item. */
export const optionsOf = (item) => item.option_groups.flatMap((group) => group.options);

/** takesOne tells whether a group is a choice of one among several. */
export function takesOne(group) {
  return group.substitution || (group.max_unique === 1 && group.options.every((option) => option.max_units === 1));
}

/** pick makes one option of a takesOne group the chosen one; no id is none of them. */
export function pick(group, units, id) {
  for (const option of group.options) {
    const many = option.default_units || Math.max(1, group.min_units);
    units.set(option.id, option.id === id ? Math.min(many, option.max_units) : 0);
  }
}

const count = (group, units) => group.options.reduce((sum, option) => sum + units.get(option.id), 0);
const kinds = (group, units) => group.options.filter((option) => units.get(option.id) > 0).length;

/** room is how many more units of an option the group's limits allow. */
export function room(group, units, option) {
  if (!option.available) return 0;
  const mine = units.get(option.id);
  if (mine === 0 && kinds(group, units) >= (group.max_unique ?? Infinity)) return 0;
  return Math.min(option.max_units - mine, (group.max_units ?? Infinity) - count(group, units));
}

/** lacks says what a group still wants, or nothing. */
export function lacks(group, units) {
  if (takesOne(group)) return count(group, units) < group.min_units || kinds(group, units) < group.min_unique ? 'Choose one' : '';
  const few = group.min_units - count(group, units);
  if (few > 0) return `Choose ${few} more`;
  const fewKinds = group.min_unique - kinds(group, units);
  return fewKinds > 0 ? `Choose ${fewKinds} more kind${fewKinds > 1 ? 's' : ''}` : '';
}

/** rules says a group's limits in a few words. */
export function rules(group) {
  const words = takesOne(group) ? [group.min_units > 0 || group.min_unique > 0 ? '' : 'If you like'] : limits(group);
  if (group.free_units > 0) words.push(`${group.free_units} free`);
  return words.filter(Boolean).join(', ');
}

function limits(group) {
  const most = group.options.reduce((sum, option) => sum + option.max_units, 0);
  const max = group.max_units < most ? group.max_units : undefined;
  const words = [];
  if (group.min_units > 0) words.push(max ? `${group.min_units} to ${max}` : `At least ${group.min_units}`);
  else if (max) words.push(`Up to ${max}`);
  if (group.max_unique < group.options.length) words.push(`${group.max_unique} kind${group.max_unique > 1 ? 's' : ''} at most`);
  return words;
}

/** unitPrice is what one unit of an option costs on top, in minor units. */
export function unitPrice(group, option, size) {
  const full = (each) => each.price_by_size?.[size] ?? each.price ?? 0;
  if (!group.substitution) return full(option);
  const standard = group.options.find((each) => each.default_units > 0);
  return Math.max(0, full(option) - (standard ? full(standard) : 0));
}

/** named are the options to send: those that differ from what the item has by itself. */
export function named(item, units) {
  return item.option_groups.flatMap((group) => {
    const replaced = group.substitution && kinds(group, units) > 0;
    return group.options
      .filter((option) => units.get(option.id) !== option.default_units)
      .filter((option) => !(replaced && units.get(option.id) === 0))
      .map((option) => ({ id: option.id, units: units.get(option.id) }));
  });
}

/** unitWords is an option as people say it: Oat milk, 2 × Shot, No foam. */
export function unitWords(option, units) {
  if (units === 0) return `No ${option[0].toLowerCase()}${option.slice(1)}`;
  return units > 1 ? `${units} × ${option}` : option;
}
