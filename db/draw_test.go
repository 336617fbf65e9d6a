package db

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// noon is when the drawn views are looked at; what is sold out ends around it.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// drawMenu makes a valid menu: few items with few options, but all the ways in which they can be priced and limited.
// Option ids come from one small pool, so that items share them.
func drawMenu(t *rapid.T) *Menu {
	m := &Menu{Version: "3", Currency: "USD"}
	n := 0
	for c := range rapid.IntRange(1, 2).Draw(t, "categories") {
		category := Category{Name: fmt.Sprint("Category ", c), Items: []Item{}}
		for range rapid.IntRange(1, 2).Draw(t, "items") {
			category.Items = append(category.Items, drawItem(t, fmt.Sprint("item", n)))
			n++
		}
		m.Categories = append(m.Categories, category)
	}
	if f := m.Validate(); f != nil {
		t.Fatalf("the drawn menu is not valid: %v", f)
	}
	m.index = newMenuIndex(m)
	return m
}

func drawItem(t *rapid.T, id string) Item {
	item := Item{ID: id, Name: "The " + id, Sizes: []Size{}, OptionGroups: []OptionGroup{}}
	item.TaxRate = rapid.SampledFrom([]string{"0", "0.0875", "0.1", "0.05", "0.333333", "1"}).Draw(t, "tax rate")
	item.Available, item.AvailableFrom = drawAvailable(t)
	for _, size := range []string{"s", "m", "l"}[:rapid.IntRange(0, 3).Draw(t, "sizes")] {
		item.Sizes = append(item.Sizes, Size{ID: size, Name: "Size " + size, Price: drawPrice(t)})
	}
	if len(item.Sizes) == 0 {
		price := drawPrice(t)
		item.BasePrice = &price
	}
	ids := rapid.Permutation([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "option ids")
	for g := range rapid.IntRange(0, 3).Draw(t, "groups") {
		take := rapid.IntRange(1, min(4, len(ids)-(2-g))).Draw(t, "options")
		item.OptionGroups = append(item.OptionGroups, drawGroup(t, fmt.Sprint("group", g), ids[:take], item.Sizes))
		ids = ids[take:]
	}
	return item
}

func drawGroup(t *rapid.T, id string, ids []string, sizes []Size) OptionGroup {
	g := OptionGroup{ID: id, Name: "The " + id, Substitution: rapid.Bool().Draw(t, "substitution")}
	g.FreeUnits = rapid.IntRange(0, 3).Draw(t, "free")
	defaults, unique := 0, 0
	for _, id := range ids {
		o := drawOption(t, id, sizes)
		if g.Substitution && unique > 0 {
			o.DefaultUnits = 0
		}
		defaults += o.DefaultUnits
		if o.DefaultUnits > 0 {
			unique++
		}
		g.Options = append(g.Options, o)
	}
	limit := func(defaults, possible int) (least int, most *int) {
		if rapid.Bool().Draw(t, "has maximum") {
			n := rapid.IntRange(max(1, defaults), max(1, possible)).Draw(t, "maximum")
			most = &n
		}
		if defaults == 0 {
			return rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "minimum"), most
		}
		return rapid.IntRange(0, defaults).Draw(t, "minimum"), most
	}
	g.MinUnits, g.MaxUnits = limit(defaults, g.capacity())
	g.MinUnique, g.MaxUnique = limit(unique, len(ids))
	if g.MaxUnits != nil {
		g.MinUnique = min(g.MinUnique, *g.MaxUnits)
	}
	g.MinUnits = min(g.MinUnits, g.capacity())
	return g
}

func drawOption(t *rapid.T, id string, sizes []Size) Option {
	o := Option{ID: id, Name: "The " + id, MaxUnits: rapid.IntRange(1, 5).Draw(t, "max units")}
	if rapid.Bool().Draw(t, "default") {
		o.DefaultUnits = rapid.IntRange(0, o.MaxUnits).Draw(t, "default units")
	}
	o.Available, o.AvailableFrom = drawAvailable(t)
	flat := len(sizes) == 0 || rapid.Bool().Draw(t, "flat price")
	if flat {
		price := drawPrice(t)
		o.Price = &price
	}
	for _, size := range sizes {
		if !flat || rapid.Bool().Draw(t, "price by size") {
			if o.PriceBySize == nil {
				o.PriceBySize = map[string]int64{}
			}
			o.PriceBySize[size.ID] = drawPrice(t)
		}
	}
	return o
}

func drawPrice(t *rapid.T) int64 {
	return rapid.OneOf(rapid.Int64Range(0, 900), rapid.SampledFrom([]int64{0, 1, MaxPrice})).Draw(t, "price")
}

// drawAvailable is mostly available, else until further notice or until a time around noon.
func drawAvailable(t *rapid.T) (bool, *time.Time) {
	if rapid.IntRange(0, 11).Draw(t, "out") > 0 {
		return true, nil
	}
	until := drawUntil(t)
	if until.IsZero() {
		return false, nil
	}
	return false, &until
}

func drawUntil(t *rapid.T) time.Time {
	hours := rapid.IntRange(-2, 3).Draw(t, "hours")
	if hours == 3 {
		return time.Time{}
	}
	return noon.Add(time.Duration(hours) * time.Hour)
}

// drawOverlay changes some prices and sells out some items and options of a menu; now and then there is none.
func drawOverlay(t *rapid.T, m *Menu) *Overlay {
	if rapid.IntRange(0, 3).Draw(t, "no overlay") == 0 {
		return nil
	}
	o := &Overlay{Prices: map[string]int64{}, SoldOut: map[string]time.Time{"item:gone": {}}}
	reprice := func(path string) {
		if rapid.IntRange(0, 3).Draw(t, "reprice") == 0 {
			o.Prices[path] = drawPrice(t)
		}
	}
	for _, c := range m.Categories {
		for _, i := range c.Items {
			if rapid.IntRange(0, 7).Draw(t, "item out") == 0 {
				o.SoldOut["item:"+i.ID] = drawUntil(t)
			}
			reprice(i.ID)
			for _, s := range i.Sizes {
				reprice(i.ID + "/" + s.ID)
			}
			for _, g := range i.OptionGroups {
				for _, option := range g.Options {
					path := i.ID + "/" + g.ID + "/" + option.ID
					reprice(path)
					for _, s := range i.Sizes {
						reprice(path + "/" + s.ID)
					}
				}
			}
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		if rapid.IntRange(0, 7).Draw(t, "option out") == 0 {
			o.SoldOut["option:"+id] = drawUntil(t)
		}
	}
	return o
}

func drawView(t *rapid.T) View {
	m := drawMenu(t)
	return View{Menu: m, Overlay: drawOverlay(t, m), At: noon, Version: "3.9"}
}

// drawRequest is something to order from a menu: wild ones may be wrong in any way, tame ones only against a limit.
func drawRequest(t *rapid.T, m *Menu) QuoteRequest {
	wild := rapid.IntRange(0, 2).Draw(t, "wild") == 0
	pick := func(tame, wilder []int, name string) int {
		if wild {
			tame = append(tame, wilder...)
		}
		return rapid.SampledFrom(tame).Draw(t, name)
	}
	req := QuoteRequest{Fulfilment: "pickup", Tip: int64(pick([]int{0, 150}, []int{-1, int(MaxTotal) + 1}, "tip"))}
	var items []Item
	for _, c := range m.Categories {
		items = append(items, c.Items...)
	}
	for range pick([]int{1, 2, 3}, []int{0}, "lines") {
		item := rapid.SampledFrom(items).Draw(t, "item")
		line := LineRequest{Item: item.ID, Quantity: pick([]int{1, 2, 99}, []int{0, -1, 100, 1 << 62}, "quantity")}
		if n := len(item.Sizes); n > 0 {
			line.Size = item.Sizes[rapid.IntRange(0, n-1).Draw(t, "size")].ID
		}
		switch pick([]int{0, 0, 0, 0, 0, 0}, []int{1, 2, 3}, "spoilt") {
		case 1:
			line.Item = "unknown"
		case 2:
			line.Size = rapid.SampledFrom([]string{"", "xl"}).Draw(t, "wrong size")
		case 3:
			line.Note = "with\x00love"
		}
		for _, g := range item.OptionGroups {
			for _, o := range g.Options {
				if rapid.Bool().Draw(t, "named") {
					units := rapid.IntRange(0, o.MaxUnits).Draw(t, "units")
					units = pick([]int{units, units, units, units}, []int{-1, o.MaxUnits + 1, 1 << 62}, "wrong units")
					line.Options = append(line.Options, OptionRequest{o.ID, units})
				}
			}
		}
		if len(line.Options) > 0 {
			line.Options = rapid.Permutation(line.Options).Draw(t, "order of options")
			switch pick([]int{0, 0, 0}, []int{1, 2}, "spoilt options") {
			case 1:
				line.Options = append(line.Options, line.Options[0])
			case 2:
				line.Options = slices.Insert(line.Options, 0, OptionRequest{"unknown", 1})
			}
		}
		req.Lines = append(req.Lines, line)
	}
	return req
}
