package db

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// shown is a menu as a customer's program sees it, without its version.
func shown(t rapid.TB, m *Menu) string {
	t.Helper()
	copied := *m
	copied.Version = ""
	data, err := json.Marshal(copied)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Not parallel: allocations are counted for the whole process.
func TestOverlayNoneCostsNothing(t *testing.T) {
	m := demoMenu(t)
	v := View{Menu: m, At: noon, Version: "1.2"}
	if got := testing.AllocsPerRun(10, func() { v.NextChange() }); got != 0 {
		t.Errorf("NextChange allocates %v times", got)
	}
	r := v.Resolve()
	if r.Version != "1.2" || m.Version != "1" || &r.Categories[0] != &m.Categories[0] {
		t.Error("the menu is copied, or has not got the view's version")
	}
	if (View{Menu: m}).Resolve().Version != "1" {
		t.Error("without a version of its own the view has not the menu's")
	}
}

func TestOverlayResolve(t *testing.T) {
	t.Parallel()
	m := cafeMenu(t)
	until := noon.Add(time.Hour)
	v := View{Menu: m, At: noon, Version: "7.1", Overlay: &Overlay{
		Prices: map[string]int64{
			"croissant": 500, "latte/small": 1, "latte/milk/oat": 2, "latte/milk/oat/large": 3, "latte/milk/oat/small": 4, "nothing": 5,
		},
		SoldOut: map[string]time.Time{"item:croissant": until, "option:oat": {}, "item:bun": until, "item:nothing": {}, "item:juice": until},
	}}
	r := v.Resolve()
	latte, croissant := r.Item("latte"), r.Item("croissant")
	oat := latte.OptionGroups[0].Options[2]
	if *croissant.BasePrice != 500 || latte.Sizes[0].Price != 1 || latte.Sizes[1].Price != 575 || *oat.Price != 2 ||
		!maps.Equal(oat.PriceBySize, map[string]int64{"large": 3}) {
		t.Errorf("prices: %s", shown(t, r))
	}
	if croissant.Available || !croissant.AvailableFrom.Equal(until) || !latte.Available {
		t.Errorf("croissant: %+v", croissant)
	}
	if oat.Available || oat.AvailableFrom != nil || croissant.OptionGroups[0].Options[0].Available {
		t.Error("oat is not sold out everywhere until further notice")
	}
	if bun := r.Item("bun"); bun.Available || bun.AvailableFrom != nil {
		t.Error("the store brings back what the chain has not got")
	}
	if juice := r.Item("juice"); !juice.AvailableFrom.Equal(time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)) {
		t.Error("the later of two times does not hold:", juice.AvailableFrom)
	}
	if next := v.NextChange(); !next.Equal(until) {
		t.Error("next change", next)
	}
	v.At = until
	if r := v.Resolve(); !r.Item("croissant").Available || r.Item("croissant").AvailableFrom != nil {
		t.Error("the croissant is not back in time")
	}
	if shown(t, m) != shown(t, cafeMenu(t)) {
		t.Error("resolving changed the chain's menu")
	}
}

// Time alone changes a menu at NextChange, not before, and never when there is none.
func TestOverlayNextChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		now, next := shown(t, v.Resolve()), v.NextChange()
		at := func(moment time.Time) string {
			later := v
			later.At = moment
			return shown(t, later.Resolve())
		}
		if next.IsZero() {
			if at(noon.AddDate(100, 0, 0)) != now {
				t.Fatal("it changes some day")
			}
			return
		}
		if !next.After(noon) || at(next.Add(-1)) != now || at(next) == now {
			t.Fatalf("it does not change at %v", next)
		}
	})
}

func TestOverlayMenuDiffRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		put := v.Resolve()
		diff, ok := MenuDiff(v.Menu, put, noon)
		if !ok {
			t.Fatalf("%+v cannot be expressed", v.Overlay)
		}
		if got := (View{Menu: v.Menu, Overlay: &diff, At: noon}).Resolve(); shown(t, got) != shown(t, put) {
			t.Fatalf("%+v makes\n%s, not\n%s", diff, shown(t, got), shown(t, put))
		}
		if v.Overlay == nil && len(diff.Prices)+len(diff.SoldOut) > 0 {
			t.Fatalf("nothing was changed but %+v", diff)
		}
	})
}

// Whatever is put, a diff that says it can express it does.
func TestOverlayMenuDiffIsRightOrFalse(t *testing.T) {
	t.Parallel()
	expressed := 0
	rapid.Check(t, func(t *rapid.T) {
		m := drawMenu(t)
		put := View{Menu: m, At: noon}.copied()
		for _, c := range put.Categories {
			for i := range c.Items {
				c.Items[i].Available, c.Items[i].AvailableFrom = drawAvailable(t)
				for g := range c.Items[i].OptionGroups {
					for o := range c.Items[i].OptionGroups[g].Options {
						option := &c.Items[i].OptionGroups[g].Options[o]
						option.Available, option.AvailableFrom = drawAvailable(t)
					}
				}
			}
		}
		if _, ok := MenuDiff(put.withoutOutages(), put, noon); !ok {
			t.Fatalf("no overlay can say what is sold out of\n%s", shown(t, put))
		}
		diff, ok := MenuDiff(m, put, noon)
		if !ok {
			return
		}
		expressed++
		got, want := View{Menu: m, Overlay: &diff, At: noon}.Resolve(), View{Menu: put, At: noon}.copied()
		if shown(t, got) != shown(t, want) {
			t.Fatalf("%+v makes\n%s, not\n%s", diff, shown(t, got), shown(t, want))
		}
	})
	if expressed == 0 {
		t.Error("nothing at all could be expressed")
	}
}

func TestOverlayMenuDiff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(m *Menu)
		prices  []string
		soldOut []string
		fits    bool
	}{
		{"nothing", func(*Menu) {}, nil, nil, true},
		{"another version", func(m *Menu) { m.Version = "99" }, nil, nil, true},
		{"prices", func(m *Menu) {
			*m.Item("croissant").BasePrice = 1
			m.Item("latte").Sizes[1].Price = 2
			*m.Item("latte").OptionGroups[0].Options[2].Price = 3
			m.Item("latte").OptionGroups[0].Options[2].PriceBySize["large"] = 4
		}, []string{"croissant", "latte/large", "latte/milk/oat", "latte/milk/oat/large"}, nil, true},
		{"item sold out", func(m *Menu) { m.Item("latte").Available = false }, nil, []string{"item:latte"}, true},
		{"longer than the chain", func(m *Menu) { m.Item("juice").AvailableFrom = nil }, nil, []string{"item:juice"}, true},
		{"option sold out in every item", func(m *Menu) {
			m.Item("latte").OptionGroups[0].Options[2].Available = false
			m.Item("croissant").OptionGroups[0].Options[0].Available = false
		}, nil, []string{"option:oat"}, true},
		{"in one item only", func(m *Menu) { m.Item("latte").OptionGroups[0].Options[2].Available = false }, nil, nil, false},
		{"what the chain has not got", func(m *Menu) { m.Item("bun").Available = true }, nil, nil, false},
		{"sooner than the chain", func(m *Menu) {
			sooner := noon.Add(time.Hour)
			m.Item("juice").AvailableFrom = &sooner
		}, nil, nil, false},
		{"a name", func(m *Menu) { m.Item("latte").Name = "Milky coffee" }, nil, nil, false},
		{"a tax rate", func(m *Menu) { m.Item("latte").TaxRate = "0.2" }, nil, nil, false},
		{"a currency", func(m *Menu) { m.Currency = "EUR" }, nil, nil, false},
		{"a limit", func(m *Menu) { m.Item("latte").OptionGroups[2].FreeUnits = 0 }, nil, nil, false},
		{"a size less", func(m *Menu) { m.Item("latte").Sizes = m.Item("latte").Sizes[:1] }, nil, nil, false},
		{"another order of sizes", func(m *Menu) { slices.Reverse(m.Item("latte").Sizes) }, nil, nil, false},
		{"an item less", func(m *Menu) { m.Categories[1].Items = m.Categories[1].Items[:1] }, nil, nil, false},
		{"a category more", func(m *Menu) { m.Categories = append(m.Categories, Category{Name: "New"}) }, nil, nil, false},
		{"a price by size more", func(m *Menu) { m.Item("latte").OptionGroups[0].Options[2].PriceBySize["small"] = 1 }, nil, nil, false},
		{"a price by size less", func(m *Menu) { m.Item("latte").OptionGroups[0].Options[2].PriceBySize = nil }, nil, nil, false},
		{"a flat price more", func(m *Menu) {
			price := int64(1)
			m.Item("latte").OptionGroups[1].Options[0].Price = &price
		}, nil, nil, false},
	}
	for _, tt := range tests {
		put := cafeMenu(t)
		tt.change(put)
		diff, ok := MenuDiff(cafeMenu(t), put, noon)
		prices, soldOut := slices.Sorted(maps.Keys(diff.Prices)), slices.Sorted(maps.Keys(diff.SoldOut))
		if ok != tt.fits || !slices.Equal(prices, tt.prices) || !slices.Equal(soldOut, tt.soldOut) {
			t.Errorf("%s: %v, %+v", tt.name, ok, diff)
		}
	}
}

// The chain's juice comes back at two. After that, a store that puts back the menu as it reads it (juice available)
// changes nothing.
func TestOverlayMenuDiffAfterATimeHasPassed(t *testing.T) {
	t.Parallel()
	chain, later := cafeMenu(t), noon.Add(3*time.Hour)
	diff, ok := MenuDiff(chain, View{Menu: chain, At: later}.Resolve(), later)
	if !ok || len(diff.SoldOut) > 0 {
		t.Errorf("%v %+v", ok, diff)
	}
}
