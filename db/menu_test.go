package db

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// cafe is a small menu with one of each: the tests price, spoil and change it.
const cafe = `{
  "version": "7", "currency": "USD",
  "categories": [
    {"name": "Drinks", "items": [
      {"id": "latte", "name": "Latte", "description": "Espresso and steamed milk.", "tax_rate": "0.0875", "available": true,
       "sizes": [{"id": "small", "name": "Small", "price": 450}, {"id": "large", "name": "Large", "price": 575}],
       "option_groups": [
         {"id": "milk", "name": "Milk", "substitution": true, "min_units": 1, "max_units": 2, "min_unique": 1, "max_unique": 1,
          "free_units": 0, "options": [
            {"id": "whole", "name": "Whole milk", "price": 20, "default_units": 1, "max_units": 2, "available": true},
            {"id": "skim", "name": "Skim milk", "price": 10, "default_units": 0, "max_units": 1, "available": true},
            {"id": "oat", "name": "Oat milk", "price": 75, "price_by_size": {"large": 100}, "default_units": 0, "max_units": 2,
             "available": true},
            {"id": "pea", "name": "Pea milk", "price": 75, "default_units": 0, "max_units": 1, "available": false}]},
         {"id": "extras", "name": "Extras", "substitution": false, "min_units": 0, "max_units": 6, "min_unique": 0,
          "free_units": 0, "options": [
            {"id": "shot", "name": "Extra shot", "price_by_size": {"small": 90, "large": 110}, "default_units": 0,
             "max_units": 4, "available": true},
            {"id": "foam", "name": "Foam", "price": 0, "default_units": 1, "max_units": 2, "available": true}]},
         {"id": "syrup", "name": "Syrup", "substitution": false, "min_units": 0, "min_unique": 0, "max_unique": 2,
          "free_units": 2, "options": [
            {"id": "vanilla", "name": "Vanilla", "price": 40, "default_units": 1, "max_units": 5, "available": true},
            {"id": "maple", "name": "Maple", "price": 60, "default_units": 0, "max_units": 5, "available": true},
            {"id": "hazelnut", "name": "Hazelnut", "price": 50, "default_units": 0, "max_units": 5, "available": true}]}]},
      {"id": "juice", "name": "Juice", "description": "", "tax_rate": "0.05", "base_price": 400, "available": false,
       "available_from": "2026-11-24T14:00:00Z", "sizes": [],
       "option_groups": [
         {"id": "fruit", "name": "Fruit", "substitution": false, "min_units": 1, "max_units": 2, "min_unique": 1,
          "free_units": 0, "options": [
            {"id": "orange", "name": "Orange", "price": 0, "default_units": 0, "max_units": 2, "available": true},
            {"id": "apple", "name": "Apple", "price": 30, "default_units": 0, "max_units": 2, "available": true}]}]}]},
    {"name": "Bakery", "items": [
      {"id": "croissant", "name": "Croissant", "description": "", "tax_rate": "0", "base_price": 425, "available": true,
       "sizes": [], "option_groups": [
         {"id": "fill", "name": "Filling", "substitution": false, "min_units": 0, "min_unique": 0, "free_units": 0, "options": [
            {"id": "oat", "name": "Oat cream", "price": 90, "default_units": 0, "max_units": 1, "available": true}]}]},
      {"id": "bun", "name": "Bun", "description": "", "tax_rate": "0.1", "base_price": 333, "available": false, "sizes": [],
       "option_groups": []}]}]}`

func cafeMenu(t testing.TB) *Menu {
	t.Helper()
	m, err := ParseMenu([]byte(cafe))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func pointers(f Faults) []string {
	var at []string
	for _, fault := range f {
		at = append(at, fault.Pointer)
	}
	return at
}

func TestMenuParse(t *testing.T) {
	t.Parallel()
	m := cafeMenu(t)
	if m.Item("croissant").Name != "Croissant" || m.Item("milk") != nil || !m.HasOption("shot") || m.HasOption("latte") {
		t.Error("items and options are not found by id")
	}
	var found Faults
	_, err := ParseMenu([]byte(strings.Replace(cafe, `"price": 450`, `"price": -450`, 1)))
	if !errors.As(err, &found) || found[0].Pointer != "/categories/0/items/0/sizes/0/price" {
		t.Error(err)
	}
	for _, broken := range []string{``, `null x`, `[]`, cafe + `{}`, cafe + `]`, strings.Replace(cafe, `"version"`, `"verzion"`, 1)} {
		if _, err := ParseMenu([]byte(broken)); err == nil {
			t.Errorf("%.40q... is taken for a menu", broken)
		}
	}
}

func TestMenuListsAreNeverNull(t *testing.T) {
	t.Parallel()
	m, err := ParseMenu([]byte(`{"currency": "EUR", "categories": [{"name": "None"}, {"name": "One", "items": [
		{"id": "tea", "name": "Tea", "base_price": 1, "tax_rate": "0"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil || strings.Contains(string(data), "null") {
		t.Errorf("%s %v", data, err)
	}
}

func TestMenuFaults(t *testing.T) {
	t.Parallel()
	const (
		latte = "/categories/0/items/0"
		juice = "/categories/0/items/1"
		milk  = latte + "/option_groups/0"
		extra = latte + "/option_groups/1"
		shot  = extra + "/options/0"
	)
	ref := func(n int) *int { return &n }
	cents := func(n int64) *int64 { return &n }
	now := time.Now()
	tests := []struct {
		name  string
		spoil func(m *Menu, latte *Item, milk, extras *OptionGroup)
		want  []string
	}{
		{"nothing", func(*Menu, *Item, *OptionGroup, *OptionGroup) {}, nil},
		{"currency", func(m *Menu, _ *Item, _, _ *OptionGroup) { m.Currency = "usd" }, []string{"/currency"}},
		{"version", func(m *Menu, _ *Item, _, _ *OptionGroup) { m.Version = strings.Repeat("1", 65) }, []string{"/version"}},
		{"category name", func(m *Menu, _ *Item, _, _ *OptionGroup) { m.Categories[1].Name = " " }, []string{"/categories/1/name"}},
		{"item id", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.ID = "Latte" }, []string{latte + "/id"}},
		{"id with a slash", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.ID = "a/b" }, []string{latte + "/id"}},
		{"id of 64", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.ID = strings.Repeat("a", 64) }, []string{latte + "/id"}},
		{"id of 63", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.ID = strings.Repeat("a", 63) }, nil},
		{"same item twice", func(m *Menu, _ *Item, _, _ *OptionGroup) { m.Categories[1].Items[0].ID = "latte" }, []string{"/categories/1/items/0/id"}},
		{"same size twice", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Sizes[0].ID = "large" }, []string{latte + "/sizes/1/id", shot + "/price_by_size/small"}},
		{"same group twice", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.ID = "milk" }, []string{extra + "/id"}},
		{"same option in two groups", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.Options[0].ID = "oat" }, []string{shot + "/id"}},
		{"item name", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Name = strings.Repeat("x", 81) }, []string{latte + "/name"}},
		{"description", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Description = "a\tb" }, []string{latte + "/description"}},
		{"image elsewhere", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Image = "//evil.example/a.png" }, []string{latte + "/image"}},
		{"image by http", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Image = "http://a.example/a.png" }, []string{latte + "/image"}},
		{"image as script", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Image = "javascript:alert(1)" }, []string{latte + "/image"}},
		{"image by path", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Image = "/static/latte.svg" }, nil},
		{"image by https", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Image = "https://a.example/a.png?w=1" }, nil},
		{"tax rate", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.TaxRate = "8.75" }, []string{latte + "/tax_rate"}},
		{"base price and sizes", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.BasePrice = cents(1) }, []string{latte + "/base_price"}},
		{"neither", func(m *Menu, _ *Item, _, _ *OptionGroup) { m.Categories[0].Items[1].BasePrice = nil }, []string{juice + "/base_price"}},
		{"base price", func(m *Menu, _ *Item, _, _ *OptionGroup) { *m.Categories[0].Items[1].BasePrice = -1 }, []string{juice + "/base_price"}},
		{"size price", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Sizes[1].Price = MaxPrice + 1 }, []string{latte + "/sizes/1/price"}},
		{"highest price", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Sizes[1].Price = MaxPrice }, nil},
		{"size name", func(_ *Menu, i *Item, _, _ *OptionGroup) { i.Sizes[1].Name = "" }, []string{latte + "/sizes/1/name"}},
		{"available from, yet available", func(_ *Menu, i *Item, m, _ *OptionGroup) {
			i.AvailableFrom, m.Options[0].AvailableFrom = &now, &now
		}, []string{latte + "/available_from", milk + "/options/0/available_from"}},
		{"no price", func(_ *Menu, _ *Item, m, _ *OptionGroup) { m.Options[0].Price = nil }, []string{milk + "/options/0/price"}},
		{"flat price", func(_ *Menu, _ *Item, m, _ *OptionGroup) { m.Options[0].Price = cents(-1) }, []string{milk + "/options/0/price"}},
		{"a size without a price", func(_ *Menu, _ *Item, m, _ *OptionGroup) { m.Options[2].Price = nil }, []string{milk + "/options/2/price_by_size"}},
		{"price for an unknown size", func(_ *Menu, _ *Item, m, _ *OptionGroup) {
			m.Options[0].PriceBySize = map[string]int64{"a/b": 1, "large": -1}
		}, []string{milk + "/options/0/price_by_size/a~1b", milk + "/options/0/price_by_size/large"}},
		{"price by size without sizes", func(m *Menu, _ *Item, _, _ *OptionGroup) {
			m.Categories[0].Items[1].OptionGroups[0].Options[0].PriceBySize = map[string]int64{"small": 1}
		}, []string{juice + "/option_groups/0/options/0/price_by_size/small"}},
		{"no options", func(_ *Menu, _ *Item, m, _ *OptionGroup) { m.Options = nil }, []string{milk + "/options"}},
		{"option units", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.Options[0].MaxUnits, e.Options[1].DefaultUnits = 100, -1 },
			[]string{shot + "/max_units", extra + "/options/1/default_units"}},
		{"default above maximum", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.Options[1].DefaultUnits = 3 }, []string{extra + "/options/1/default_units"}},
		{"minimum that cannot be met", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MinUnits, e.MaxUnits = 7, nil }, []string{extra + "/min_units"}},
		{"minimum that so few cannot meet", func(_ *Menu, _ *Item, _, e *OptionGroup) {
			e.MinUnits, e.MaxUnique, e.Options[1].DefaultUnits = 5, ref(1), 0
		},
			[]string{extra + "/min_units"}},
		{"negative minimum", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MinUnits, e.MinUnique = -1, -1 }, []string{extra + "/min_units", extra + "/min_unique"}},
		{"minimum above the default", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MinUnits = 2 }, []string{extra + "/min_units"}},
		{"minimum without default is a choice to make", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MinUnits, e.Options[1].DefaultUnits = 2, 0 }, nil},
		{"maximum below minimum", func(_ *Menu, _ *Item, m, _ *OptionGroup) {
			m.MinUnique, m.MaxUnique, m.Options[0].DefaultUnits = 2, ref(1), 0
		},
			[]string{milk + "/max_unique"}},
		{"maximum below the default", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MaxUnits, e.Options[1].DefaultUnits = ref(1), 2 }, []string{extra + "/max_units"}},
		{"no maximum", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.MaxUnits = ref(0) }, []string{extra + "/max_units"}},
		{"more different ones than units", func(_ *Menu, _ *Item, _, e *OptionGroup) {
			e.MinUnique, e.MaxUnits, e.Options[1].DefaultUnits = 2, ref(1), 0
		},
			[]string{extra + "/min_unique"}},
		{"free units", func(_ *Menu, _ *Item, _, e *OptionGroup) { e.FreeUnits = -1 }, []string{extra + "/free_units"}},
		{"two defaults to replace", func(_ *Menu, _ *Item, m, _ *OptionGroup) { m.Options[1].DefaultUnits, m.MaxUnique = 1, nil }, []string{milk + "/options"}},
	}
	for _, tt := range tests {
		m := cafeMenu(t)
		latte := m.Item("latte")
		tt.spoil(m, latte, &latte.OptionGroups[0], &latte.OptionGroups[1])
		if got := m.Validate(); !slices.Equal(pointers(got), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMenuFaultsAllAtOnce(t *testing.T) {
	t.Parallel()
	m := cafeMenu(t)
	m.Currency, m.Categories[0].Name = "", ""
	m.Item("latte").OptionGroups[2].Options[1].Name = ""
	m.Item("croissant").TaxRate = "x"
	want := []string{
		"/currency", "/categories/0/name", "/categories/0/items/0/option_groups/2/options/1/name", "/categories/1/items/0/tax_rate",
	}
	if got := pointers(m.Validate()); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestMenuIsBounded(t *testing.T) {
	t.Parallel()
	item := func(n int) Item {
		price := int64(1)
		return Item{ID: fmt.Sprint("i", n), Name: "x", BasePrice: &price, TaxRate: "0"}
	}
	items := func(n int) *Menu {
		m := &Menu{Currency: "USD", Categories: []Category{{Name: "a"}, {Name: "b"}}}
		for i := range n {
			c := &m.Categories[i%2]
			c.Items = append(c.Items, item(i))
		}
		return m
	}
	one := func(change func(*Item)) *Menu {
		m := items(1)
		change(&m.Categories[0].Items[0])
		return m
	}
	flat := int64(0)
	option := Option{ID: "o", Name: "o", Price: &flat, MaxUnits: 1}
	tests := []struct {
		name string
		menu *Menu
		want string
	}{
		{"500 items", items(500), ""},
		{"501 items", items(501), "/categories/1/items"},
		{"51 categories", &Menu{Currency: "USD", Categories: slices.Repeat([]Category{{Name: "a"}}, 51)}, "/categories"},
		{"21 sizes", one(func(i *Item) { i.BasePrice, i.Sizes = nil, make([]Size, 21) }), "/categories/0/items/0/sizes"},
		{"21 groups", one(func(i *Item) { i.OptionGroups = make([]OptionGroup, 21) }), "/categories/0/items/0/option_groups"},
		{"51 options", one(func(i *Item) {
			i.OptionGroups = []OptionGroup{{ID: "g", Name: "g", Options: slices.Repeat([]Option{option}, 51)}}
		}), "/categories/0/items/0/option_groups/0/options"},
		{"thousands of faults", one(func(i *Item) {
			i.OptionGroups = slices.Repeat([]OptionGroup{{Options: make([]Option, 50)}}, 20)
		}), "-"},
	}
	for _, tt := range tests {
		got := tt.menu.Validate()
		switch {
		case tt.want == "-":
			if len(got) != MaxFaults {
				t.Errorf("%s: %d", tt.name, len(got))
			}
		case strings.Join(pointers(got), " ") != tt.want:
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
