package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestCoffee is the main job: an order is placed and charged, a barista makes it, the customer collects it.
func TestCoffee(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	placing := s.place(t, latte(nil)).wants(t, 202)
	o := placing.order(t)
	if o.Status != "payment_pending" || o.Version != 1 || o.Payment.Status != "pending" || o.Token == "" || o.Total != o.Subtotal+o.Tax {
		t.Fatalf("the placing answer is %s", placing.body)
	}
	if placing.Header.Get("Location") != o.path() {
		t.Errorf("Location is %q", placing.Header.Get("Location"))
	}
	o = s.eventually(t, o, 5*time.Second, func(o order) bool { return o.Status == "placed" })
	if o.Payment.Captured != o.Total {
		t.Errorf("captured %d of %d", o.Payment.Captured, o.Total)
	}
	s.do(t, board, "start", o, "applied")
	s.do(t, board, "ready", o, "applied")
	s.do(t, board, "collect", o, "applied")
}

// TestPlacingAnswers places orders of every kind, with and without waiting for the provider.
func TestPlacingAnswers(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.changeMenu(t, s.staff(t, "mia", db.Manager), func(m *db.Menu) { *m.Item("croissant").BasePrice = 0 })
	card := func(token string) object { return object{"payment": object{"method": "card", "token": token}} }
	free := latte(croissant)
	declined := latte(card("tok_declined"))
	freeDeclined := latte(croissant)
	maps.Copy(freeDeclined, card("tok_declined"))
	for name, x := range map[string]struct {
		body                    object
		prefer                  string
		status                  int
		order, payment, failure string
	}{
		"card":                     {latte(nil), "", 202, "payment_pending", "pending", ""},
		"card, waited for":         {latte(nil), "wait=10", 201, "placed", "captured", ""},
		"among other preferences":  {latte(nil), `respond-async, Wait = "10"; x=y`, 201, "placed", "captured", ""},
		"far more than ten":        {latte(nil), "wait=86400", 201, "placed", "captured", ""},
		"more than fits an int":    {latte(nil), "wait=99999999999999999999", 201, "placed", "captured", ""},
		"declined":                 {declined, "", 202, "payment_pending", "pending", ""},
		"declined, waited for":     {declined, "wait=10", 201, "payment_failed", "failed", "card_declined"},
		"unknown token":            {latte(card("tok_nonsense")), "wait=10", 201, "payment_failed", "failed", "invalid_token"},
		"counter":                  {atCounter(), "", 201, "placed", "due", ""},
		"counter, waited for":      {atCounter(), "wait=10", 201, "placed", "due", ""},
		"zero total":               {free, "", 201, "placed", "captured", ""},
		"zero total, waited for":   {free, "wait=10", 201, "placed", "captured", ""},
		"zero total on a bad card": {freeDeclined, "", 201, "placed", "captured", ""},
	} {
		var headers []string
		if x.prefer != "" {
			headers = append(headers, "Prefer: "+x.prefer)
		}
		a := s.place(t, x.body, headers...)
		o := a.order(t)
		if a.StatusCode != x.status || o.Status != x.order || o.Payment.Status != x.payment || o.Payment.Failure != x.failure {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if a.Header.Get("Location") != o.path() || o.Token == "" || a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: headers %v", name, a.Header)
		}
		if captured := map[bool]int64{true: o.Total}[o.Payment.Status == "captured"]; o.Payment.Captured != captured {
			t.Errorf("%s: captured %d of %d", name, o.Payment.Captured, o.Total)
		}
	}
}

// TestPreferIgnored sends wishes that are none: the answer does not wait.
func TestPreferIgnored(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, prefer := range []string{"wait=0", "wait", "wait=", "wait=soon", "wait=1.5", "wait=-1", "await=5", "respond-async", ";,=", `wait="5`} {
		o := s.place(t, latte(nil), "Prefer: "+prefer).wants(t, 202).order(t)
		if o.Version != 1 || o.Payment.Status != "pending" {
			t.Errorf("Prefer: %s: version %d, payment %s", prefer, o.Version, o.Payment.Status)
		}
	}
}

// TestOrderNumbers counts from 1 in each store and on each local day, without gaps, however many at once.
func TestOrderNumbers(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	numbers := together(t, 40, func(i int) int {
		return []*shop{s, other}[i%2].place(t, latte(nil)).wants(t, 202).order(t).Number
	})
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("40 orders have the numbers %v", numbers)
		}
	}
	for n := 1; n <= 2; n++ {
		o := s.call(t, "POST", "/v1/stores/dumbo/orders", "", atCounter(), "Idempotency-Key: "+uuid.NewString()).wants(t, 201).order(t)
		if o.Number != n {
			t.Errorf("order %d of another store is number %d", n, o.Number)
		}
	}
	s.place(t, latte(object{"tip": -1})).wants(t, 422)
	if n := s.place(t, latte(nil)).order(t).Number; n != 41 {
		t.Errorf("a refused order took a number: the next is %d", n)
	}
	if _, err := s.api.pool.Exec(t.Context(), `update order_counters set day = day - 1`); err != nil {
		t.Fatal(err)
	}
	if n := s.place(t, latte(nil)).order(t).Number; n != 1 {
		t.Errorf("the first order of a day is number %d", n)
	}
}

// TestSnapshot changes everything about an item after it was ordered.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	lines := []object{{"item": "latte", "size": "large", "quantity": 3, "note": "extra hot", "options": []object{{"id": "oat", "units": 1}, {"id": "shot", "units": 2}}}}
	o := s.place(t, latte(object{"lines": lines})).wants(t, 202).order(t)
	priced := func() string {
		var shown struct {
			Lines                json.RawMessage
			Subtotal, Tax, Total int64
		}
		s.call(t, "GET", o.path(), o.Token, nil).wants(t, 200).into(t, &shown)
		return fmt.Sprint(string(shown.Lines), shown.Subtotal, shown.Tax, shown.Total)
	}
	before := priced()
	s.changeMenu(t, s.staff(t, "mia", db.Manager), func(m *db.Menu) {
		item := m.Item("latte")
		item.Name, item.TaxRate, item.Sizes[2].Price, item.Sizes[2].Name = "Milky coffee", "0.2", 9999, "Bucket"
		item.OptionGroups = item.OptionGroups[:1]
		options(m, "oat", func(o *db.Option) { o.Name = "Oats" })
	})
	s.place(t, latte(object{"lines": lines})).wantsProblem(t, 422, "invalid", "/lines/0/options/1/id")
	if after := priced(); after != before || !strings.Contains(before, "Oat milk") {
		t.Errorf("the order changed with the menu from\n%s to\n%s", before, after)
	}
}

func TestExpectedTotal(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var quote db.Quote
	seen := s.call(t, "POST", testStorePath+"/quotes", "", latteQuote()).wants(t, 200)
	seen.into(t, &quote)
	s.place(t, latte(object{"expected_total": quote.Total})).wants(t, 202)
	s.changeMenu(t, s.staff(t, "mia", db.Manager), func(m *db.Menu) { m.Item("latte").Sizes[0].Price += 25 })
	changed := s.place(t, latte(object{"expected_total": quote.Total}))
	changed.wantsProblem(t, 409, "price_changed")
	var problem struct{ Quote json.RawMessage }
	changed.into(t, &problem)
	now := s.call(t, "POST", testStorePath+"/quotes", "", latteQuote()).wants(t, 200)
	if !bytes.Equal(problem.Quote, bytes.TrimSpace(now.body)) {
		t.Errorf("the problem has the quote\n%s, asked for one it is\n%s", problem.Quote, now.body)
	}
	now.into(t, &quote)
	if o := s.place(t, latte(object{"expected_total": quote.Total})).wants(t, 202).order(t); o.Total != quote.Total {
		t.Errorf("the order costs %d, the quote said %d", o.Total, quote.Total)
	}
	s.place(t, latte(object{"expected_total": quote.Total, "tip": 1})).wantsProblem(t, 409, "price_changed")
	s.place(t, latte(object{"expected_total": -1})).wantsProblem(t, 422, "invalid", "/expected_total")
}

// TestClosed orders from a store that is closed now and opens tomorrow at noon.
func TestClosed(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	hours, opens := closedNow(t)
	s.patch(t, staff, testStore, object{"hours": hours})
	at := func(after time.Duration) object {
		return latte(object{"pickup_at": opens.Add(after).UTC().Format(time.RFC3339)})
	}
	s.place(t, latte(nil)).wantsProblem(t, 409, "store_closed")
	s.place(t, at(-time.Minute)).wantsProblem(t, 409, "store_closed")
	s.place(t, at(time.Hour)).wantsProblem(t, 409, "store_closed")
	s.place(t, at(0)).wants(t, 202)
	s.place(t, at(59*time.Minute)).wants(t, 202)
	s.patch(t, staff, testStore, object{"slot_limit": 5})
	s.place(t, latte(nil)).wantsProblem(t, 409, "store_closed")
	s.place(t, at(30*time.Minute)).wants(t, 202)
	s.patch(t, staff, testStore, object{"hours": []object{}})
	s.place(t, at(30*time.Minute)).wantsProblem(t, 409, "store_closed")
	s.call(t, "POST", testStorePath+"/quotes", "", latteQuote()).wants(t, 200) // prices are no secret at night
}

// TestPausedAtOnce wants a pause to hold for the very next order, wherever it arrives, and its end too.
func TestPausedAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	staff, board := s.staff(t, "mia", db.Manager), s.device(t, testStore)
	pause := func(at *shop, until any) {
		at.call(t, "PATCH", testStorePath, staff, object{"paused_until": until}, "If-Match: *").wants(t, 200)
	}
	for i := range 20 {
		here, there := s, other
		if i%2 == 1 {
			here, there = other, s
		}
		pause(here, inFuture(time.Hour))
		there.place(t, latte(nil)).wantsProblem(t, 409, "store_paused")
		here.place(t, atCounter()).wantsProblem(t, 409, "store_paused")
		pause(here, nil)
		there.place(t, latte(nil)).wants(t, 202)
		here.commands(t, board, command("pause", object{"until": inFuture(time.Hour)}))
		there.place(t, latte(nil)).wantsProblem(t, 409, "store_paused")
		here.commands(t, board, command("resume", nil))
		there.place(t, atCounter()).wants(t, 201)
	}
	until := time.Now().Add(2 * time.Second)
	s.commands(t, board, command("pause", object{"until": until.UTC().Format(time.RFC3339Nano)}))
	if got := s.place(t, latte(nil)); time.Now().Before(until) {
		got.wantsProblem(t, 409, "store_paused")
	}
	dbtest.Becomes(t, patience, "the pause is over", func() bool { return s.place(t, latte(nil)).StatusCode == http.StatusAccepted })
}

func TestPickupAt(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for at, status := range map[string]int{
		inFuture(time.Hour): 202, inFuture(6 * 24 * time.Hour): 202, inFuture(5 * time.Second): 202,
		inFuture(-time.Hour): 422, inFuture(-2 * time.Second): 422, inFuture(-2 * time.Minute): 422, inFuture(8 * 24 * time.Hour): 422, "0000-01-01T00:00:00+01:00": 422,
		"9999-12-31T23:59:59-01:00": 422, "tomorrow": 422, "2026-11-24": 422, "2026-13-24T10:00:00Z": 422, "": 422,
	} {
		a := s.place(t, latte(object{"pickup_at": at}))
		if a.StatusCode != status {
			t.Errorf("pickup_at %q: %d %s", at, a.StatusCode, a.body)
			continue
		}
		if status == http.StatusUnprocessableEntity {
			a.wantsProblem(t, 422, "invalid", "/pickup_at")
		} else if o := a.order(t); o.PickupAt == nil || *o.PickupAt != at {
			t.Errorf("pickup_at %s became %v", at, o.PickupAt)
		}
	}
	for _, at := range []any{nil, 5, object{}} {
		s.place(t, latte(object{"pickup_at": at})).wantsProblem(t, 422, "invalid", "/pickup_at")
	}
	// The same moment by another clock.
	local := time.Now().Add(time.Hour).In(time.FixedZone("", -8*3600)).Format(time.RFC3339)
	o := s.place(t, latte(object{"pickup_at": local})).wants(t, 202).order(t)
	if at, err := time.Parse(time.RFC3339, local); err != nil || *o.PickupAt != at.UTC().Format(time.RFC3339) {
		t.Errorf("pickup_at %s became %s", local, *o.PickupAt)
	}
	if o := s.place(t, latte(nil)).order(t); o.PickupAt != nil {
		t.Errorf("where there are no slots an order without pickup_at got %s", *o.PickupAt)
	}
}

func TestTip(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	plain := s.place(t, latte(nil)).wants(t, 202).order(t)
	tipped := s.placed(t, latte(object{"tip": 200}))
	if plain.Tip != 0 || tipped.Tip != 200 || tipped.Total != plain.Total+200 || tipped.Tax != plain.Tax || tipped.Subtotal != plain.Subtotal {
		t.Errorf("without a tip %+v, with one %+v", plain, tipped)
	}
	if tipped.Payment.Captured != tipped.Total {
		t.Errorf("captured %d of %d", tipped.Payment.Captured, tipped.Total)
	}
	for _, tip := range []any{-1, 1_000_000_000_001, 1e300, 1.5, "1", nil} {
		s.place(t, latte(object{"tip": tip})).wantsProblem(t, 422, "invalid", "/tip")
	}
	s.place(t, latte(object{"tip": 1_000_000_000_000})).wantsProblem(t, 422, "invalid", "/tip") // with the latte it is too much
}

// TestOrderTag reads an order again only when it has changed.
func TestOrderTag(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.placed(t, latte(nil))
	a := s.call(t, "GET", o.path(), o.Token, nil).wants(t, 200)
	tag := fmt.Sprintf("%q", fmt.Sprint(o.Version))
	if a.Header.Get("ETag") != tag {
		t.Errorf("version %d has the ETag %s", o.Version, a.Header.Get("ETag"))
	}
	s.call(t, "GET", o.path(), o.Token, nil, "If-None-Match: "+tag).wants(t, 304)
	s.do(t, s.device(t, testStore), "start", o, "applied")
	s.call(t, "GET", o.path(), o.Token, nil, "If-None-Match: "+tag).wants(t, 200)
}

// TestOrderRules breaks the rules of an order that a schema cannot know, all at once.
func TestOrderRules(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.place(t, latte(object{
		"customer": object{"name": strings.Repeat("x", 81), "email": "nobody", "phone": "x"}, "payment": object{"method": "card"},
		"lines": []object{{"item": "latte", "quantity": 100, "note": strings.Repeat("x", 201)}, {"item": "latte", "size": "small", "quantity": 0}},
	})).wantsProblem(t, 422, "invalid", "/customer/name", "/customer/email", "/customer/phone", "/payment/token",
		"/lines/0/quantity", "/lines/0/note", "/lines/0/size", "/lines/1/quantity")
	malformed := object{
		"customer": object{"name": ""}, "pickup_at": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "sugar": true,
		"lines": []object{
			{"item": "latte", "size": "small", "quantity": 0}, {"item": "nothing", "quantity": 1}, {"item": "latte", "quantity": 1},
			{"item": "latte", "size": 1, "quantity": 1}, {"item": "latte", "size": "small", "options": "oat", "quantity": 1},
			{"item": "latte", "size": "small", "quantity": 1, "options": []object{{"id": "shot", "units": 5}, {"id": 7, "units": 1}}},
			{"item": "latte", "size": "small", "quantity": 1, "options": []object{{"id": "whole", "units": 0, "why": "allergy"}}},
		},
	}
	s.place(t, latte(malformed)).wantsProblem(t, 422, "invalid", "/customer/name", "/pickup_at", "/sugar", "/lines/0/quantity", "/lines/1/item",
		"/lines/2/size", "/lines/3/size", "/lines/4/options", "/lines/5/options/0/units", "/lines/5/options/1/id",
		"/lines/6/options", "/lines/6/options/0/why")
	s.call(t, "POST", testStorePath+"/quotes", "", object{"fulfilment": "pickup", "lines": malformed["lines"], "tip": -1}).wantsProblem(t, 422, "invalid", "/tip",
		"/lines/0/quantity", "/lines/1/item", "/lines/2/size", "/lines/3/size", "/lines/4/options", "/lines/5/options/0/units", "/lines/5/options/1/id",
		"/lines/6/options", "/lines/6/options/0/why")
	s.place(t, latte(object{"lines": []object{
		{"item": "nothing", "quantity": 1}, {"item": "latte", "quantity": 1}, {"item": "latte", "size": "huge", "quantity": 1},
		{"item": "latte", "size": "small", "quantity": 1, "options": []object{{"id": "shot", "units": 5}}},
	}})).wantsProblem(t, 422, "invalid", "/lines/0/item", "/lines/1/size", "/lines/2/size", "/lines/3/options/0/units")
	s.place(t, latte(object{"payment": object{"method": "counter"}})).wantsProblem(t, 422, "invalid", "/payment/method")
	s.place(t, latte(object{"fulfilment": "in-store", "payment": object{"method": "counter"}})).wantsProblem(t, 422, "invalid", "/fulfilment")
	s.place(t, latte(object{"lines": []object{}})).wantsProblem(t, 422, "invalid", "/lines")
	s.place(t, latte(object{"customer": object{"name": strings.Repeat("ü", 80)}})).wants(t, 202)
	for contact, ways := range map[string][]string{
		"email": {".@.", "a@b.", ".a@b", "a..b@c", "a@", "@b", "a@b..c", "a b@c"}, "phone": {"-----", "+", "1234", "+1 415 () 555", "123456789012345678901"},
	} {
		for _, way := range ways {
			s.place(t, latte(object{"customer": object{"name": "Ada", contact: way}})).wantsProblem(t, 422, "invalid", "/customer/"+contact)
		}
	}
	for _, customer := range []object{{"name": "Ada", "email": "a.b+c@d-e.f.g", "phone": "(0)20 7946-0958"}, {"name": "Ada", "email": "root@localhost", "phone": "0171 - 1234567"}} {
		s.place(t, latte(object{"customer": customer})).wants(t, 202)
	}
	for _, name := range []string{"", " ", "a\u0000b", "a\nb", "a\u0085b"} {
		s.place(t, latte(object{"customer": object{"name": name}})).wantsProblem(t, 422, "invalid", "/customer/name")
	}
}

// TestCounterFull has more orders at a counter than anybody can pay.
func TestCounterFull(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	together(t, 250, func(int) answer { return s.place(t, atCounter()).wants(t, 201) })
	s.place(t, atCounter()).wantsProblem(t, 409, "counter_full")
	s.place(t, with("tok_visa")).wants(t, 202)
}
