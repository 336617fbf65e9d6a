package db

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Menu is what a chain, or a store with a menu of its own, sells. One that ParseMenu returned is never changed and is
// shared by goroutines; what a store does to it is in its Overlay.
type Menu struct {
	Version    string     `json:"version"`
	Currency   string     `json:"currency"`
	Categories []Category `json:"categories"`

	index *menuIndex
}

// Category is a heading of the menu with its items.
type Category struct {
	Name  string `json:"name"`
	Items []Item `json:"items"`
}

// Item is something to order. It has either a base price or sizes with a price each. TaxRate is a decimal fraction on
// top of the price ("0.0875"). An item that is not available is again from AvailableFrom on, if that is known.
type Item struct {
	ID            string        `json:"id"`
	Name          string        `json:"name"`
	Description   string        `json:"description"`
	Image         string        `json:"image,omitempty"`
	BasePrice     *int64        `json:"base_price,omitempty"`
	TaxRate       string        `json:"tax_rate"`
	Sizes         []Size        `json:"sizes"`
	OptionGroups  []OptionGroup `json:"option_groups"`
	Available     bool          `json:"available"`
	AvailableFrom *time.Time    `json:"available_from,omitempty"`
}

// Size is one size of an item, with the item's price in that size.
type Size struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Price int64  `json:"price"`
}

// OptionGroup is a choice to make about an item. Units count quantity, unique counts different options; no maximum is
// unlimited. In a substitution group (milk) choosing an option takes the place of the default one.
type OptionGroup struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Substitution bool     `json:"substitution"`
	MinUnits     int      `json:"min_units"`
	MaxUnits     *int     `json:"max_units,omitempty"`
	MinUnique    int      `json:"min_unique"`
	MaxUnique    *int     `json:"max_unique,omitempty"`
	FreeUnits    int      `json:"free_units"`
	Options      []Option `json:"options"`
}

// Option is one thing to choose in a group. A unit costs the price for the chosen size, else the flat price. Its id is
// the same wherever the item has the same thing: what is sold out is sold out in every item.
type Option struct {
	ID            string           `json:"id"`
	Name          string           `json:"name"`
	Price         *int64           `json:"price,omitempty"`
	PriceBySize   map[string]int64 `json:"price_by_size,omitempty"`
	DefaultUnits  int              `json:"default_units"`
	MaxUnits      int              `json:"max_units"`
	Available     bool             `json:"available"`
	AvailableFrom *time.Time       `json:"available_from,omitempty"`
}

// What a menu may hold. The bounds keep every walk over a menu short and every sum of prices far inside an int64.
const (
	maxCategories   = 50
	maxItems        = 500
	maxSizes        = 20
	maxGroups       = 20
	maxGroupOptions = 50
	maxUnits        = 99

	maxName        = 80
	maxDescription = 500
	maxImage       = 500
	maxVersion     = 64
)

var (
	idPattern       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
)

// ParseMenu reads a menu, refuses one that is not valid (the error holds Faults), and prepares it for pricing.
func ParseMenu(data []byte) (*Menu, error) {
	var m Menu
	if err := json.Unmarshal(data, &m, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("parse menu: %w", err)
	}
	if err := m.Validate().Err(); err != nil {
		return nil, fmt.Errorf("parse menu: %w", err)
	}
	parsed := View{Menu: &m}.copied()
	parsed.index = newMenuIndex(parsed)
	return parsed, nil
}

// Item finds an item by its id, nil if the menu has none.
func (m *Menu) Item(id string) *Item {
	at := m.lookup().items[id]
	if at == nil {
		return nil
	}
	return &m.Categories[at.category].Items[at.item]
}

// HasOption says whether any item has an option with this id.
func (m *Menu) HasOption(id string) bool {
	return m.lookup().options[id]
}

// menuIndex finds things by id. It holds positions, not pointers, so a resolved copy of the menu shares it.
type menuIndex struct {
	items   map[string]*itemIndex
	options map[string]bool
	timed   bool // something on the menu itself becomes available at a time
}

type itemIndex struct {
	category, item int
	rate           int64 // millionths
	sizes          map[string]int
	options        map[string]optionIndex
	defaults       int // options with default units
}

// optionIndex is where an option stands: counted through all groups of its item, and as a group and a place in it.
type optionIndex struct {
	position, group, option int
}

// lookup is the menu's index; a menu that was not parsed gets one for the occasion, for want of a safe place to keep it.
func (m *Menu) lookup() *menuIndex {
	if m.index != nil {
		return m.index
	}
	return newMenuIndex(m)
}

func newMenuIndex(m *Menu) *menuIndex {
	index := &menuIndex{items: map[string]*itemIndex{}, options: map[string]bool{}}
	for c := range m.Categories {
		for i := range m.Categories[c].Items {
			item := &m.Categories[c].Items[i]
			at := index.add(item)
			at.category, at.item = c, i
			index.items[item.ID] = at
		}
	}
	return index
}

func (x *menuIndex) add(item *Item) *itemIndex {
	at := &itemIndex{sizes: map[string]int{}, options: map[string]optionIndex{}}
	at.rate, _ = parseRate(item.TaxRate)
	x.timed = x.timed || item.AvailableFrom != nil
	for s := range item.Sizes {
		at.sizes[item.Sizes[s].ID] = s
	}
	for g := range item.OptionGroups {
		for o := range item.OptionGroups[g].Options {
			option := &item.OptionGroups[g].Options[o]
			at.options[option.ID] = optionIndex{position: len(at.options), group: g, option: o}
			x.options[option.ID] = true
			x.timed = x.timed || option.AvailableFrom != nil
			if option.DefaultUnits > 0 {
				at.defaults++
			}
		}
	}
	return at
}

// Validate reports everything wrong with the menu, with pointers from its root.
func (m *Menu) Validate() Faults {
	var f Faults
	f.Text("/version", m.Version, 0, maxVersion)
	if !currencyPattern.MatchString(m.Currency) {
		f.Add("/currency", "must be three capital letters of ISO 4217")
	}
	if !f.count("/categories", "categories", len(m.Categories), 0, maxCategories) {
		return f
	}
	items, n := map[string]bool{}, 0
	for c, category := range m.Categories {
		at := Pointer("categories", c)
		f.Text(at+"/name", category.Name, 1, maxName)
		n += len(category.Items)
		if !f.count(at+"/items", "items on the whole menu", n, 0, maxItems) {
			return f
		}
		for i := range category.Items {
			item := &category.Items[i]
			below := at + Pointer("items", i)
			f.id(below, item.ID, items)
			item.validate(&f, below)
		}
	}
	return f
}

func (i *Item) validate(f *Faults, at string) {
	f.Text(at+"/name", i.Name, 1, maxName)
	f.Text(at+"/description", i.Description, 0, maxDescription)
	if !imageOK(i.Image) {
		f.Add(at+"/image", fmt.Sprintf("must be a relative path or an https address of at most %d characters", maxImage))
	}
	if _, ok := parseRate(i.TaxRate); !ok {
		f.Add(at+"/tax_rate", `must be a decimal fraction from "0" to "1" with at most 6 decimals`)
	}
	f.availability(at, i.Available, i.AvailableFrom)
	switch {
	case i.BasePrice == nil && len(i.Sizes) == 0:
		f.Add(at+"/base_price", "must be given for an item without sizes")
	case i.BasePrice != nil && len(i.Sizes) > 0:
		f.Add(at+"/base_price", "must not be given for an item with sizes")
	case i.BasePrice != nil:
		f.price(at+"/base_price", *i.BasePrice)
	}
	sizes := map[string]bool{}
	if f.count(at+"/sizes", "sizes", len(i.Sizes), 0, maxSizes) {
		for s, size := range i.Sizes {
			below := at + Pointer("sizes", s)
			f.id(below, size.ID, sizes)
			f.Text(below+"/name", size.Name, 1, maxName)
			f.price(below+"/price", size.Price)
		}
	}
	if !f.count(at+"/option_groups", "option groups", len(i.OptionGroups), 0, maxGroups) {
		return
	}
	// Options are named without their group when ordering, so an id stands for one option of the whole item.
	groups, options := map[string]bool{}, map[string]bool{}
	for g := range i.OptionGroups {
		below := at + Pointer("option_groups", g)
		f.id(below, i.OptionGroups[g].ID, groups)
		i.OptionGroups[g].validate(f, below, sizes, options)
	}
}

func (g *OptionGroup) validate(f *Faults, at string, sizes, ids map[string]bool) {
	f.Text(at+"/name", g.Name, 1, maxName)
	if !f.count(at+"/options", "options", len(g.Options), 1, maxGroupOptions) {
		return
	}
	units, unique := 0, 0
	for o := range g.Options {
		option := &g.Options[o]
		below := at + Pointer("options", o)
		f.id(below, option.ID, ids)
		option.validate(f, below, sizes)
		units += option.DefaultUnits
		if option.DefaultUnits > 0 {
			unique++
		}
	}
	f.limits(at, "units", g.MinUnits, g.MaxUnits, units, g.capacity())
	f.limits(at, "unique", g.MinUnique, g.MaxUnique, unique, len(g.Options))
	if g.MaxUnits != nil && g.MinUnique > *g.MaxUnits {
		f.Add(at+"/min_unique", "asks for more different options than max_units allows")
	}
	if g.FreeUnits < 0 || g.FreeUnits > maxUnits {
		f.Add(at+"/free_units", fmt.Sprintf("must be from 0 to %d", maxUnits))
	}
	if g.Substitution && unique > 1 {
		f.Add(at+"/options", "a substitution group has at most one default option: it is the one that is replaced")
	}
}

// capacity is how many units the options allow together, when no more of them are chosen than max_unique.
func (g *OptionGroup) capacity() int {
	most := make([]int, len(g.Options))
	for o := range g.Options {
		most[o] = g.Options[o].MaxUnits
	}
	slices.Sort(most)
	if g.MaxUnique != nil && *g.MaxUnique >= 0 && *g.MaxUnique < len(most) {
		most = most[len(most)-*g.MaxUnique:]
	}
	units := 0
	for _, n := range most {
		units += n
	}
	return units
}

func (o *Option) validate(f *Faults, at string, sizes map[string]bool) {
	f.Text(at+"/name", o.Name, 1, maxName)
	f.availability(at, o.Available, o.AvailableFrom)
	if o.MaxUnits < 1 || o.MaxUnits > maxUnits {
		f.Add(at+"/max_units", fmt.Sprintf("must be from 1 to %d", maxUnits))
	}
	if o.DefaultUnits < 0 || o.DefaultUnits > o.MaxUnits {
		f.Add(at+"/default_units", "must be from 0 to max_units")
	}
	for _, size := range slices.Sorted(maps.Keys(o.PriceBySize)) {
		below := at + Pointer("price_by_size", size)
		if !sizes[size] {
			f.Add(below, "is not a size of this item")
		}
		f.price(below, o.PriceBySize[size])
	}
	switch {
	case o.Price != nil:
		f.price(at+"/price", *o.Price)
	case len(o.PriceBySize) == 0:
		f.Add(at+"/price", "must be given, or price_by_size")
	default:
		for _, size := range slices.Sorted(maps.Keys(sizes)) {
			if _, ok := o.PriceBySize[size]; !ok {
				f.Add(at+"/price_by_size", "has no price for size "+size+", and there is no flat price")
			}
		}
	}
}

// limits checks a group's minimum and maximum: that some choice can meet them, and that its defaults do. A group
// without defaults is a choice that the customer has to make, so the minimum does not apply to it here.
func (f *Faults) limits(at, what string, least int, most *int, defaults, possible int) {
	if least < 0 || least > possible {
		f.Add(at+"/min_"+what, fmt.Sprintf("must be from 0 to what the options allow together, %d", possible))
	} else if defaults > 0 && defaults < least {
		f.Add(at+"/min_"+what, fmt.Sprintf("is more than the defaults give, %d", defaults))
	}
	switch {
	case most == nil:
	case *most < 1 || *most > maxUnits*maxGroupOptions:
		f.Add(at+"/max_"+what, fmt.Sprintf("must be from 1 to %d", maxUnits*maxGroupOptions))
	case *most < least:
		f.Add(at+"/max_"+what, "must not be less than min_"+what)
	case *most < defaults:
		f.Add(at+"/max_"+what, fmt.Sprintf("is less than the defaults give, %d", defaults))
	}
}

func (f *Faults) id(at, id string, seen map[string]bool) {
	switch {
	case !idPattern.MatchString(id):
		f.Add(at+"/id", "must be 1 to 63 of a-z, 0-9, - and _, the first a letter or digit")
	case seen[id]:
		f.Add(at+"/id", id+" is here twice")
	}
	seen[id] = true
}

func (f *Faults) price(at string, price int64) {
	if price < 0 || price > MaxPrice {
		f.Add(at, fmt.Sprintf("must be from 0 to %d", MaxPrice))
	}
}

func (f *Faults) availability(at string, available bool, from *time.Time) {
	if available && from != nil {
		f.Add(at+"/available_from", "is only for what is not available now")
	}
}

func imageOK(image string) bool {
	if len(image) > maxImage || strings.ContainsAny(image, "\\ ") {
		return false
	}
	u, err := url.Parse(image)
	if err != nil {
		return false
	}
	if u.Scheme == "" {
		return u.Host == "" && !strings.HasPrefix(image, "//")
	}
	return u.Scheme == "https" && u.Host != "" && u.User == nil
}
