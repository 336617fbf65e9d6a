package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

const testMenuPath = testStorePath + "/menu"

// croissant is the lines of an order of one croissant.
var croissant = object{"lines": []object{{"item": "croissant", "quantity": 1}}}

// menu reads a store's menu and its ETag.
func (s *shop) menu(t *testing.T, slug string) (*db.Menu, string) {
	t.Helper()
	a := s.call(t, "GET", "/v1/stores/"+slug+"/menu", "", nil).wants(t, 200)
	m := new(db.Menu)
	a.into(t, m)
	return m, a.Header.Get("ETag")
}

// changeMenu reads the test store's menu, changes it and puts it back.
func (s *shop) changeMenu(t *testing.T, staff string, change func(*db.Menu)) answer {
	t.Helper()
	m, tag := s.menu(t, testStore)
	change(m)
	return s.call(t, "PUT", testMenuPath, staff, m, "If-Match: "+tag).wants(t, 200)
}

// options calls fn for every option with this id, in every item.
func options(m *db.Menu, id string, fn func(*db.Option)) {
	for _, category := range m.Categories {
		for _, item := range category.Items {
			for _, group := range item.OptionGroups {
				for o := range group.Options {
					if group.Options[o].ID == id {
						fn(&group.Options[o])
					}
				}
			}
		}
	}
}

func find(m *db.Menu, id string) (found *db.Option) {
	options(m, id, func(o *db.Option) { found = o })
	return found
}

// sameMenu tells whether two menus differ at most in their version.
func sameMenu(t *testing.T, a, b []byte) bool {
	t.Helper()
	var menus [2]map[string]any
	for i, data := range [][]byte{a, b} {
		if err := json.Unmarshal(data, &menus[i]); err != nil {
			t.Fatal(err)
		}
		delete(menus[i], "version")
	}
	one, err1 := json.Marshal(menus[0])
	other, err2 := json.Marshal(menus[1])
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}

func TestMenuTag(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	a := s.call(t, "GET", testMenuPath, "", nil).wants(t, 200)
	tag := a.Header.Get("ETag")
	if strings.HasPrefix(tag, "W/") || len(tag) < 4 {
		t.Errorf("ETag %s is not a strong one", tag)
	}
	for given, status := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, tag[1 : len(tag)-1]: 200} {
		got := s.call(t, "GET", testMenuPath, "", nil, "If-None-Match: "+given).wants(t, status)
		if got.Header.Get("ETag") != tag || (status == 304) != (len(got.body) == 0) {
			t.Errorf("If-None-Match %s: %d with ETag %s and %d bytes", given, status, got.Header.Get("ETag"), len(got.body))
		}
	}
	staff := s.staff(t, "mia", db.Manager)
	put := s.changeMenu(t, staff, func(m *db.Menu) { *m.Item("croissant").BasePrice++ })
	if now := s.call(t, "GET", testMenuPath, "", nil, "If-None-Match: "+tag).wants(t, 200).Header.Get("ETag"); now == tag || now != put.Header.Get("ETag") {
		t.Errorf("ETag %s, then PUT %s, then GET %s", tag, put.Header.Get("ETag"), now)
	}
}

func TestPutMenuPrecondition(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	m, tag := s.menu(t, testStore)
	*m.Item("croissant").BasePrice = 500
	s.call(t, "PUT", testMenuPath, staff, m).wantsProblem(t, 428, "precondition_required")
	s.call(t, "PUT", testMenuPath, staff, m, `If-Match: "x"`).wantsProblem(t, 412, "precondition_failed")
	s.call(t, "PUT", testMenuPath, staff, m, "If-Match: W/"+tag).wantsProblem(t, 412, "precondition_failed")
	s.call(t, "PUT", testMenuPath, "", m, "If-Match: "+tag).wantsProblem(t, 401, "unauthenticated")
	s.call(t, "PUT", testMenuPath, s.device(t, testStore), m, "If-Match: "+tag).wantsProblem(t, 403, "forbidden")
	s.call(t, "PUT", testMenuPath, s.staff(t, "sue", db.Support), m, "If-Match: "+tag).wantsProblem(t, 403, "forbidden")
	if now, _ := s.menu(t, testStore); *now.Item("croissant").BasePrice != 425 {
		t.Error("a refused PUT changed the menu")
	}
	answers := together(t, 8, func(i int) answer {
		mine := *m
		return s.call(t, "PUT", testMenuPath, staff, mine, "If-Match: "+tag)
	})
	if n := countStatus(answers); n[200] != 1 || n[412] != 7 {
		t.Errorf("8 PUTs with one ETag: %v", n)
	}
	s.call(t, "PUT", testMenuPath, staff, m, "If-Match: "+tag).wantsProblem(t, 412, "precondition_failed")
	_, tag = s.menu(t, testStore)
	*m.Item("croissant").BasePrice = 525
	s.call(t, "PUT", testMenuPath, staff, m, "If-Match: "+tag, "If-None-Match: *").wants(t, 200)
}

// TestPutMenuPrice changes prices of one store: its own menu, quotes and orders follow at once, in another
// process within a second, and in other stores never.
func TestPutMenuPrice(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	staff := s.staff(t, "mia", db.Manager)
	for price := range 10 {
		s.changeMenu(t, staff, func(m *db.Menu) { m.Item("latte").Sizes[0].Price = int64(1000 + price) })
		m, _ := s.menu(t, testStore)
		var quote db.Quote
		s.call(t, "POST", testStorePath+"/quotes", "", latteQuote()).wants(t, 200).into(t, &quote)
		if m.Item("latte").Sizes[0].Price != int64(1000+price) || quote.Subtotal != int64(1000+price) || quote.MenuVersion != m.Version {
			t.Fatalf("after a PUT of %d GET has %d and a quote %d", 1000+price, m.Item("latte").Sizes[0].Price, quote.Subtotal)
		}
	}
	dbtest.Becomes(t, time.Second, "another process has the price", func() bool {
		m, _ := other.menu(t, testStore)
		return m.Item("latte").Sizes[0].Price == 1009
	})
	if m, _ := s.menu(t, "hayes-valley"); m.Item("latte").Sizes[0].Price != 475 {
		t.Error("the price changed in another store too")
	}
	if o := other.place(t, latte(nil)).wants(t, 202).order(t); o.Subtotal != 1009 {
		t.Errorf("an order costs %d", o.Subtotal)
	}
}

// latteQuote is latte as a quote takes it.
func latteQuote() object {
	body := latte(nil)
	return object{"fulfilment": body["fulfilment"], "lines": body["lines"]}
}

// TestPutMenuOwn gives a store something that its chain does not sell; from then on its menu is its own.
func TestPutMenuOwn(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	crab := db.Item{ID: "crab-roll", Name: "Crab roll", TaxRate: "0.0875", Sizes: []db.Size{}, OptionGroups: []db.OptionGroup{}, Available: true}
	crab.BasePrice = new(int64)
	*crab.BasePrice = 2250
	s.changeMenu(t, staff, func(m *db.Menu) { m.Categories[0].Items = append(m.Categories[0].Items, crab) })
	s.changeMenu(t, staff, func(m *db.Menu) { m.Item("crab-roll").Name, *m.Item("croissant").BasePrice = "Lobster roll", 999 })
	m, _ := s.menu(t, testStore)
	if m.Item("crab-roll").Name != "Lobster roll" || *m.Item("croissant").BasePrice != 999 {
		t.Error("the second change of an own menu is not there")
	}
	if m, _ := s.menu(t, "hayes-valley"); m.Item("crab-roll") != nil || *m.Item("croissant").BasePrice != 425 {
		t.Error("another store sells it too")
	}
	s.place(t, latte(object{"lines": []object{{"item": "crab-roll", "quantity": 2}}})).wants(t, 202)
	s.changeMenu(t, staff, func(m *db.Menu) { m.Categories = m.Categories[1:] })
	s.place(t, latte(object{"lines": []object{{"item": "crab-roll", "quantity": 2}}})).wantsProblem(t, 422, "invalid", "/lines/0/item")
}

// TestPutMenuAsItIs puts back what GET gave, in every shape a store's menu can have: nothing changes.
func TestPutMenuAsItIs(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, change := range []struct {
		name string
		fn   func(*db.Menu)
	}{
		{"chain", func(*db.Menu) {}},
		{"price", func(m *db.Menu) { m.Item("latte").Sizes[1].Price = 1 }},
		{"item sold out", func(m *db.Menu) { m.Item("mocha").Available = false }},
		{"item back at a time", func(m *db.Menu) { m.Item("mocha").AvailableFrom = &later }},
		{"option sold out", func(m *db.Menu) {
			options(m, "oat", func(o *db.Option) { o.Available, o.AvailableFrom = false, &later })
		}},
		{"own menu with outages", func(m *db.Menu) { m.Item("mocha").Name = "Dark mocha" }},
		{"option sold out in one item", func(m *db.Menu) { find(m, "ginger").Available = false; find(m, "sugar").Available = false }},
		{"own menu, all back", func(m *db.Menu) {
			m.Item("mocha").Available, m.Item("mocha").AvailableFrom = true, nil
			options(m, "oat", func(o *db.Option) { o.Available, o.AvailableFrom = true, nil })
		}},
	} {
		want, _ := s.menu(t, testStore)
		change.fn(want)
		put := s.changeMenu(t, staff, change.fn)
		data, err := json.Marshal(want)
		if err != nil || !sameMenu(t, data, put.body) {
			t.Errorf("%s: PUT of\n%s\nmakes\n%s", change.name, data, put.body)
		}
		again := s.call(t, "PUT", testMenuPath, staff, string(put.body), "If-Match: "+put.Header.Get("ETag")).wants(t, 200)
		got := s.call(t, "GET", testMenuPath, "", nil).wants(t, 200)
		if !sameMenu(t, put.body, again.body) || !bytes.Equal(again.body, got.body) || again.Header.Get("ETag") != got.Header.Get("ETag") {
			t.Errorf("%s: GET and PUT of the same change\n%s\nto\n%s", change.name, put.body, got.body)
		}
		// A process that starts now reads it from the database.
		fresh := openShopOn(t, s.databaseURL).call(t, "GET", testMenuPath, "", nil).wants(t, 200)
		if !bytes.Equal(fresh.body, got.body) {
			t.Errorf("%s: another process has\n%s", change.name, fresh.body)
		}
	}
}

// TestAvailableFrom waits for the moment at which something is back without anybody doing anything.
func TestAvailableFrom(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	back := time.Now().Add(5 * time.Second) // a busy machine places two orders in that
	out := s.changeMenu(t, staff, func(m *db.Menu) {
		m.Item("croissant").Available, m.Item("croissant").AvailableFrom = false, &back
		options(m, "oat", func(o *db.Option) { o.Available, o.AvailableFrom = false, &back })
	})
	oat := latte(object{"lines": []object{{"item": "latte", "size": "small", "quantity": 1, "options": []object{{"id": "oat", "units": 1}}}}})
	s.place(t, latte(croissant)).wantsProblem(t, 422, "invalid", "/lines/0/item")
	s.place(t, oat).wantsProblem(t, 422, "invalid", "/lines/0/options/0/id")
	s.place(t, latte(nil)).wants(t, 202)
	dbtest.Becomes(t, time.Until(back)+3500*time.Millisecond, "the menu changes", func() bool {
		return s.call(t, "GET", testMenuPath, "", nil, "If-None-Match: "+out.Header.Get("ETag")).StatusCode == http.StatusOK
	})
	if early := time.Until(back); early > 0 {
		t.Errorf("it was back %v early", early)
	}
	m, _ := s.menu(t, testStore)
	if item := m.Item("croissant"); !item.Available || item.AvailableFrom != nil || !find(m, "oat").Available {
		t.Errorf("the menu has %+v", item)
	}
	s.place(t, latte(croissant)).wants(t, 202)
	s.place(t, oat).wants(t, 202)
}

func TestPutMenuFaults(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	m, tag := s.menu(t, testStore)
	good, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s is not in the menu", old)
		}
		return strings.Replace(string(good), old, new, 1)
	}
	for name, x := range map[string]struct {
		body     string
		pointers []string
	}{
		"empty object":    {`{}`, []string{"/categories"}},
		"other currency":  {replaced(`"USD"`, `"EUR"`), []string{"/currency"}},
		"negative price":  {replaced(`"base_price":350`, `"base_price":-1`), []string{"/categories/0/items/0/base_price"}},
		"price too high":  {replaced(`"base_price":350`, `"base_price":10000001`), []string{"/categories/0/items/0/base_price"}},
		"fraction":        {replaced(`"base_price":350`, `"base_price":3.5`), []string{"/categories/0/items/0/base_price"}},
		"price as text":   {replaced(`"base_price":350`, `"base_price":"350"`), []string{"/categories/0/items/0/base_price"}},
		"unknown field":   {replaced(`"base_price":350`, `"base_price":350,"price":1`), []string{"/categories/0/items/0/price"}},
		"other case":      {replaced(`"base_price":350`, `"base_price":350,"Base_Price":1`), []string{"/categories/0/items/0/Base_Price"}},
		"same item twice": {replaced(`"id":"macchiato"`, `"id":"espresso"`), []string{"/categories/0/items/1/id"}},
		"no such size":    {replaced(`"large":80`, `"huge":80`), []string{"/categories/0/items/4/option_groups/0/options/3/price_by_size", "/categories/0/items/4/option_groups/0/options/3/price_by_size/huge"}},
		"tax rate number": {replaced(`"tax_rate":"0.0875"`, `"tax_rate":0.0875`), []string{"/categories/0/items/0/tax_rate"}},
		"available gone":  {replaced(`,"available":true},{"id":"macchiato"`, `},{"id":"macchiato"`), []string{"/categories/0/items/0/available"}},
		"two faults":      {strings.Replace(replaced(`"base_price":350`, `"base_price":-1`), `"tax_rate":"0.0875"`, `"tax_rate":"2"`, 1), []string{"/categories/0/items/0/base_price", "/categories/0/items/0/tax_rate"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.call(t, "PUT", testMenuPath, staff, x.body, "If-Match: "+tag).wantsProblem(t, 422, "invalid", x.pointers...)
		})
	}
	s.call(t, "PUT", testMenuPath, staff, string(good[:len(good)-1]), "If-Match: "+tag).wantsProblem(t, 400, "malformed_json")
	s.call(t, "PUT", testMenuPath, staff, strings.Repeat(" ", 64<<10)+string(good), "If-Match: "+tag).wantsProblem(t, 413, "body_too_large")
	// Version and currency may be left out: GET gives them, PUT ignores the one and cannot change the other.
	var plain map[string]any
	if err := json.Unmarshal(good, &plain); err != nil {
		t.Fatal(err)
	}
	delete(plain, "version")
	delete(plain, "currency")
	s.call(t, "PUT", testMenuPath, staff, plain, "If-Match: "+tag).wants(t, 200)
}

// TestMenuSoldOut is decided by when it happened at the counter, not by when it was heard of.
func TestMenuSoldOut(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	board := s.device(t, testStore)
	at := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339Nano) }
	available := func(id string) bool {
		m, _ := s.menu(t, testStore)
		if item := m.Item(id); item != nil {
			return item.Available
		}
		return find(m, id).Available
	}
	for i, step := range []struct {
		kind, what, id string
		at             string
		result         string
		available      bool
	}{
		{"sold_out", "item", "croissant", at(time.Hour), "applied", false},
		{"available", "item", "croissant", at(2 * time.Hour), "superseded", false},
		{"available", "item", "croissant", at(30 * time.Minute), "applied", true},
		{"sold_out", "item", "croissant", at(45 * time.Minute), "superseded", true},
		{"sold_out", "item", "croissant", at(-time.Hour), "applied", false}, // a clock that is fast counts as now
		{"available", "item", "croissant", at(-time.Hour), "applied", true},
		{"sold_out", "option", "oat", at(time.Minute), "applied", false},
		{"available", "option", "oat", at(time.Hour), "superseded", false},
		{"available", "option", "oat", at(0), "applied", true},
	} {
		r := s.commands(t, board, command(step.kind, object{step.what: step.id, "occurred_at": step.at}))[0]
		if got := available(step.id); r.Result != step.result || got != step.available {
			t.Errorf("step %d: %s of %s is %s, then available is %v", i, step.kind, step.id, r, got)
		}
	}
	for _, c := range []object{{"item": "unobtainium"}, {"option": "unobtainium"}} {
		if r := s.commands(t, board, command("sold_out", c))[0]; r.Result != "rejected" {
			t.Errorf("sold_out of what nobody sells is %s", r)
		}
	}
	s.commands(t, board, command("sold_out", object{"item": "latte"}))
	s.place(t, latte(nil)).wantsProblem(t, 422, "invalid", "/lines/0/item")
	dbtest.Becomes(t, time.Second, "another process knows", func() bool {
		return other.place(t, latte(nil), "Idempotency-Key: "+uuid.NewString()).StatusCode == http.StatusUnprocessableEntity
	})
	if m, _ := s.menu(t, "hayes-valley"); !m.Item("latte").Available {
		t.Error("another store is out of it too")
	}
}

// TestOwnMenuSoldOut ends at the board what is sold out on a menu that differs from the chain's in which of its drinks have
// oat milk.
func TestOwnMenuSoldOut(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board, staff := s.device(t, testStore), s.staff(t, "mia", db.Manager)
	s.commands(t, board, command("sold_out", object{"item": "croissant"}))
	s.changeMenu(t, staff, func(m *db.Menu) {
		find(m, "oat").Available = false // of one drink
		options(m, "shot", func(o *db.Option) { o.Available = false })
	})
	for kind, id := range map[string]string{"item": "croissant", "option": "shot"} {
		if r := s.commands(t, board, command("available", object{kind: id}))[0]; r.Result != "applied" {
			t.Errorf("available of %s is %s", id, r)
		}
	}
	m, _ := s.menu(t, testStore)
	if !m.Item("croissant").Available || !find(m, "shot").Available || find(m, "oat").Available {
		t.Error("what is back at the board is not back on the menu, or oat milk is")
	}
	s.place(t, latte(croissant)).wants(t, 202)
}

// TestMenuSoldOutUntil is over by itself.
func TestMenuSoldOutUntil(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	until := time.Now().Add(4 * time.Second)
	r := s.commands(t, board, command("sold_out", object{"item": "croissant", "until": until.UTC().Format(time.RFC3339Nano)}))[0]
	m, _ := s.menu(t, testStore)
	if item := m.Item("croissant"); r.Result != "applied" || item.Available || item.AvailableFrom == nil {
		t.Fatalf("%s: %+v", r, item)
	}
	s.place(t, latte(croissant)).wantsProblem(t, 422, "invalid", "/lines/0/item")
	dbtest.Becomes(t, 10*time.Second, "the croissant is back", func() bool { return s.place(t, latte(croissant)).StatusCode == http.StatusAccepted })
	if early := time.Until(until); early > 0 {
		t.Errorf("it was back %v early", early)
	}
}
