package db

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func demoMenu(t testing.TB) *Menu {
	t.Helper()
	m, err := ParseMenu(DemoMenu)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDemoMenuHasWhatTheContractNames(t *testing.T) {
	t.Parallel()
	m := demoMenu(t)
	latte, croissant := m.Item("latte"), m.Item("croissant")
	if latte == nil || croissant == nil {
		t.Fatal("no latte or no croissant")
	}
	for i, id := range []string{"small", "medium", "large"} {
		if len(latte.Sizes) != 3 || latte.Sizes[i].ID != id {
			t.Fatalf("sizes of the latte: %+v", latte.Sizes)
		}
	}
	if len(croissant.Sizes) != 0 {
		t.Errorf("croissant has sizes: %+v", croissant.Sizes)
	}
	groups := map[string]OptionGroup{}
	options := map[string]Option{}
	for _, g := range latte.OptionGroups {
		groups[g.ID] = g
		for _, o := range g.Options {
			options[g.ID+"/"+o.ID] = o
		}
	}
	if !groups["milk"].Substitution || options["milk/whole"].DefaultUnits != 1 || options["milk/oat"].MaxUnits != 1 {
		t.Errorf("milk: %+v", groups["milk"])
	}
	if options["extras/shot"].MaxUnits != 4 {
		t.Errorf("extras: %+v", groups["extras"])
	}
}

// A stranger, or a load generator, orders each item by naming only its size.
func TestDemoMenuSellsEveryItemAsItIs(t *testing.T) {
	t.Parallel()
	m := demoMenu(t)
	items := 0
	for _, category := range m.Categories {
		for _, item := range category.Items {
			items++
			line := LineRequest{Item: item.ID, Quantity: 1}
			if len(item.Sizes) > 0 {
				line.Size = item.Sizes[0].ID
			}
			q, faults := View{Menu: m}.Price(QuoteRequest{Fulfilment: "pickup", Lines: []LineRequest{line}})
			if faults != nil || q.Subtotal == 0 {
				t.Errorf("%s: %v %+v", item.ID, faults, q)
			}
		}
	}
	if items < 20 || len(m.Categories) < 5 {
		t.Errorf("%d items in %d categories", items, len(m.Categories))
	}
}

// Staff read the menu, change it and put it back, in a body of at most 64 KiB.
func TestDemoMenuFitsABody(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(demoMenu(t))
	if err != nil || len(data) > 64<<10 {
		t.Fatal(len(data), err)
	}
	again, err := ParseMenu(data)
	if err != nil {
		t.Fatal(err)
	}
	if twice, _ := json.Marshal(again); !bytes.Equal(data, twice) {
		t.Error("the menu changes by being read and written")
	}
}

func TestDemoStores(t *testing.T) {
	t.Parallel()
	stores := DemoStores()
	if len(stores) < 6 || stores[0].Slug != "ferry-building" {
		t.Fatalf("%+v", stores)
	}
	seen := map[string]bool{"staff": true, "static": true, "v1": true}
	for _, s := range stores {
		if seen[s.Slug] || !idPattern.MatchString(s.Slug) {
			t.Errorf("slug %q", s.Slug)
		}
		seen[s.Slug] = true
		loc, err := time.LoadLocation(s.Timezone)
		if err != nil || !AroundTheClock().Open(time.Now(), loc) {
			t.Errorf("%s: %v", s.Slug, err)
		}
		if s.Name == "" || s.Address == "" || s.Lat < 24 || s.Lat > 49 || s.Lon < -125 || s.Lon > -66 {
			t.Errorf("%+v is nowhere in the United States", s)
		}
	}
}
