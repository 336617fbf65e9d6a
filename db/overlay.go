package db

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"strings"
	"time"
)

// Overlay is what one store changes about its chain's menu: prices, and what is sold out. It is small; most stores have
// none.
type Overlay struct {
	// Prices in minor units by path: "latte" is the base price of an item, "latte/small" the price of a size,
	// "latte/milk/oat" the flat price of an option and "latte/milk/oat/small" its price for a size. A path that the
	// menu does not have a price for changes nothing.
	Prices map[string]int64

	// SoldOut holds "item:latte", or "option:oat" for that option of every item, until a time; the zero time is until
	// further notice.
	SoldOut map[string]time.Time
}

const (
	soldOutItem   = "item:"
	soldOutOption = "option:"
)

// View is a store's menu at a moment: the chain's menu, the store's overlay (usually nil), and the version that the two
// have together (empty is the menu's own).
type View struct {
	Menu    *Menu
	Overlay *Overlay
	At      time.Time
	Version string
}

// Resolve is the menu as customers of the store see it at that moment: its prices, what is available, and since when
// what is not will be. The result is to be read only: it may share everything with the chain's menu.
func (v View) Resolve() *Menu {
	if v.steady() {
		m := *v.Menu
		m.Version = v.version()
		return &m
	}
	return v.copied()
}

// NextChange is the next moment at which the passing of time alone changes what Resolve returns, zero if there is none.
func (v View) NextChange() time.Time {
	var next time.Time
	if v.Overlay.sellsAll() && v.Menu.index != nil && !v.Menu.index.timed {
		return next
	}
	sooner := func(o outage) {
		if o.now && !o.until.IsZero() && (next.IsZero() || o.until.Before(next)) {
			next = o.until
		}
	}
	for _, category := range v.Menu.Categories {
		for i := range category.Items {
			item := &category.Items[i]
			sooner(v.itemOutage(item))
			for g := range item.OptionGroups {
				for o := range item.OptionGroups[g].Options {
					sooner(v.optionOutage(&item.OptionGroups[g].Options[o]))
				}
			}
		}
	}
	return next
}

// MenuDiff is the overlay by which a store's menu, put, differs from its chain's at a moment. It is false if put differs
// in more than prices and availability, or makes available what the chain has not got: such a store needs a menu of its
// own. Neither version matters. Put must be valid.
func MenuDiff(chain, put *Menu, at time.Time) (Overlay, bool) {
	d := differ{chain: View{Menu: chain, At: at}, put: View{Menu: put, At: at}}
	d.overlay = Overlay{Prices: map[string]int64{}, SoldOut: map[string]time.Time{}}
	pairs(chain.Categories, put.Categories, func(was, now *Category) {
		pairs(was.Items, now.Items, d.item)
	})
	// What was collected takes everything but prices and availability to be the same. Applying it proves that, and also
	// that it does not change what put leaves alone (oat sold out in one drink only, say).
	d.chain.Overlay = &d.overlay
	expressed, wanted := d.chain.copied(), d.put.copied()
	expressed.Version = wanted.Version
	a, errA := json.Marshal(expressed)
	b, errB := json.Marshal(wanted)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		return Overlay{}, false
	}
	return d.overlay, true
}

// differ collects the prices and outages that put has and chain has not, place by place.
type differ struct {
	chain, put View
	overlay    Overlay
}

func (d *differ) item(was, now *Item) {
	d.soldOut(soldOutItem+was.ID, d.chain.itemOutage(was), d.put.itemOutage(now))
	d.price(was.BasePrice, now.BasePrice, was.ID)
	pairs(was.Sizes, now.Sizes, func(from, to *Size) {
		d.price(&from.Price, &to.Price, was.ID, from.ID)
	})
	pairs(was.OptionGroups, now.OptionGroups, func(group, same *OptionGroup) {
		pairs(group.Options, same.Options, func(from, to *Option) {
			d.option(from, to, was.ID, group.ID)
		})
	})
}

func (d *differ) option(was, now *Option, item, group string) {
	d.soldOut(soldOutOption+was.ID, d.chain.optionOutage(was), d.put.optionOutage(now))
	d.price(was.Price, now.Price, item, group, was.ID)
	for size, price := range now.PriceBySize {
		before := was.PriceBySize[size]
		d.price(&before, &price, item, group, was.ID, size)
	}
}

func (d *differ) price(was, now *int64, path ...string) {
	if was != nil && now != nil && *was != *now {
		d.overlay.Prices[strings.Join(path, "/")] = *now
	}
}

func (d *differ) soldOut(key string, was, now outage) {
	if now.now && now != was {
		d.overlay.SoldOut[key] = now.until
	}
}

func pairs[T any](a, b []T, visit func(a, b *T)) {
	for i := range min(len(a), len(b)) {
		visit(&a[i], &b[i])
	}
}

// steady says that at any time the view is just its menu.
func (v View) steady() bool {
	return v.Menu.index != nil && !v.Menu.index.timed &&
		(v.Overlay == nil || len(v.Overlay.Prices)+len(v.Overlay.SoldOut) == 0)
}

func (v View) version() string {
	return cmp.Or(v.Version, v.Menu.Version)
}

// copied is Resolve in full. Absent lists become empty ones, as they are to be in JSON.
func (v View) copied() *Menu {
	m := &Menu{
		Version:    v.version(),
		Currency:   v.Menu.Currency,
		Categories: make([]Category, len(v.Menu.Categories)),
		index:      v.Menu.index,
	}
	for c, category := range v.Menu.Categories {
		m.Categories[c] = Category{Name: category.Name, Items: make([]Item, len(category.Items))}
		for i := range category.Items {
			m.Categories[c].Items[i] = v.item(&category.Items[i])
		}
	}
	return m
}

func (v View) item(was *Item) Item {
	item := *was
	item.Available, item.AvailableFrom = v.itemOutage(was).shown()
	if was.BasePrice != nil {
		price := v.Overlay.price(*was.BasePrice, was.ID)
		item.BasePrice = &price
	}
	item.Sizes = make([]Size, len(was.Sizes))
	for s, size := range was.Sizes {
		size.Price = v.Overlay.price(size.Price, was.ID, size.ID)
		item.Sizes[s] = size
	}
	item.OptionGroups = make([]OptionGroup, len(was.OptionGroups))
	for g, group := range was.OptionGroups {
		options := make([]Option, len(group.Options))
		for o := range group.Options {
			options[o] = v.option(&group.Options[o], was.ID, group.ID)
		}
		group.Options = options
		item.OptionGroups[g] = group
	}
	return item
}

func (v View) option(was *Option, item, group string) Option {
	option := *was
	option.Available, option.AvailableFrom = v.optionOutage(was).shown()
	if was.Price != nil {
		price := v.Overlay.price(*was.Price, item, group, was.ID)
		option.Price = &price
	}
	option.PriceBySize = maps.Clone(was.PriceBySize)
	for size, price := range was.PriceBySize {
		option.PriceBySize[size] = v.Overlay.price(price, item, group, was.ID, size)
	}
	return option
}

// price is the store's price at a path of ids, else the menu's. The key is built on the stack: pricing asks often.
func (o *Overlay) price(menu int64, path ...string) int64 {
	if o == nil || len(o.Prices) == 0 {
		return menu
	}
	var buf [256]byte
	key := buf[:0]
	for i, id := range path {
		if i > 0 {
			key = append(key, '/')
		}
		key = append(key, id...)
	}
	if price, ok := o.Prices[string(key)]; ok {
		return price
	}
	return menu
}

// sellsAll tells whether the store is out of nothing that its chain has.
func (o *Overlay) sellsAll() bool {
	return o == nil || len(o.SoldOut) == 0
}

// outage says that something is not to be had now, and until when; the zero time is until further notice.
type outage struct {
	now   bool
	until time.Time
}

func (v View) itemOutage(item *Item) outage {
	return v.outage(item.Available, item.AvailableFrom, soldOutItem, item.ID)
}

func (v View) optionOutage(option *Option) outage {
	return v.outage(option.Available, option.AvailableFrom, soldOutOption, option.ID)
}

// outage joins what the chain says with what the store says: something is back when both have it.
func (v View) outage(available bool, from *time.Time, kind, id string) outage {
	var out outage
	if !available {
		out.add(from, v.At)
	}
	if v.Overlay.sellsAll() {
		return out
	}
	var buf [80]byte
	if until, ok := v.Overlay.SoldOut[string(append(append(buf[:0], kind...), id...))]; ok {
		out.add(&until, v.At)
	}
	return out
}

// add joins one more outage, until a time or (nil or zero) until further notice; one that is over changes nothing.
func (o *outage) add(until *time.Time, at time.Time) {
	switch {
	case until == nil || until.IsZero():
		*o = outage{now: true}
	case !at.Before(*until):
	case !o.now:
		*o = outage{now: true, until: until.UTC()}
	case !o.until.IsZero() && until.After(o.until):
		o.until = until.UTC()
	}
}

func (o outage) shown() (available bool, from *time.Time) {
	if o.now && !o.until.IsZero() {
		return false, &o.until
	}
	return !o.now, nil
}
