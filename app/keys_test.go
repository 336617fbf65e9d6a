package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

const testOrdersPath = testStorePath + "/orders"

// together makes n calls at the same time and returns their answers.
func together[T any](t *testing.T, n int, call func(i int) T) []T {
	t.Helper()
	return begin(t, n, call)()
}

// begin is together without the wait, which is for the function returned: in a goroutine of its own a test cannot be ended,
// and whoever waited for that would wait for ever.
func begin[T any](t *testing.T, n int, call func(i int) T) (wait func() []T) {
	t.Helper()
	answers := make([]T, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i] = call(i)
		})
	}
	close(start)
	return func() []T {
		t.Helper()
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
		return answers
	}
}

// countStatus counts answers by their status.
func countStatus(answers []answer) map[int]int {
	n := map[int]int{}
	for _, a := range answers {
		n[a.StatusCode]++
	}
	return n
}

// placeUnder places an order under a key.
func (s *shop) placeUnder(t *testing.T, key string, body any, headers ...string) answer {
	t.Helper()
	return s.call(t, "POST", testOrdersPath, "", body, append(headers, "Idempotency-Key: "+key)...)
}

// wantsReplay fails the test unless the answer is that of before, said again.
func (a answer) wantsReplay(t *testing.T, before answer) {
	t.Helper()
	if a.StatusCode != before.StatusCode || !bytes.Equal(a.body, before.body) || a.Header.Get("Location") != before.Header.Get("Location") {
		t.Fatalf("the first answer was %d\n%s\nits repeat %d\n%s", before.StatusCode, before.body, a.StatusCode, a.body)
	}
	if before.Header.Get("Idempotency-Replayed") != "" || a.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("Idempotency-Replayed is %q at first, then %q", before.Header.Get("Idempotency-Replayed"), a.Header.Get("Idempotency-Replayed"))
	}
}

// count asks the database.
func (s *shop) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := s.api.pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *shop) orderCount(t *testing.T) int {
	t.Helper()
	return s.count(t, `select count(*) from orders`)
}

// TestReplay repeats orders at once, after they moved on, after the menu forgot the item, while the store is
// closed and through another process, and gets the bytes of the first answer each time.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	staff, board := s.staff(t, "mia", db.Manager), s.device(t, testStore)
	s.patch(t, staff, testStore, object{"slot_limit": 50})
	bodies := []object{
		latte(nil), atCounter(), latte(object{"tip": 3, "payment": object{"method": "card", "token": "tok_declined"}}),
		latte(object{"customer": object{"name": "Zoë <&> \u2028 \U0001F600 \\\"", "email": "zoe@example.com"}}),
		latte(object{"pickup_at": time.Now().Add(time.Hour).UTC().Truncate(time.Second).Add(123456789).Format(time.RFC3339Nano)}),
		latte(object{"lines": []object{{"item": "latte", "size": "large", "quantity": 99, "note": " extra\u00a0hot ", "options": []object{{"id": "oat", "units": 1}, {"id": "foam", "units": 0}}}}}),
	}
	prefers := []string{"", "Prefer: wait=10"}
	first := map[string]answer{}
	repeat := func() {
		for i, body := range bodies {
			for _, prefer := range prefers {
				key := fmt.Sprint(i, strings.ReplaceAll(prefer, " ", ""))
				before, known := first[key]
				if !known {
					first[key] = s.placeUnder(t, key, body, headers(prefer)...)
					continue
				}
				for j, shop := range []*shop{s, other, s} {
					shop.placeUnder(t, key, body, headers(prefers[j%2])...).wantsReplay(t, before)
				}
			}
		}
	}
	repeat()
	repeat()
	for _, a := range first {
		o := a.order(t)
		if o = s.eventually(t, o, 5*time.Second, func(o order) bool { return o.Status != "payment_pending" }); o.Status == "placed" {
			s.do(t, board, "ready", o, "applied")
		}
	}
	s.changeMenu(t, staff, func(m *db.Menu) { m.Categories = m.Categories[1:] })
	repeat()
	s.patch(t, staff, testStore, object{"hours": []object{}, "slot_limit": 1, "paused_until": inFuture(time.Hour)})
	repeat()
	s.placeUnder(t, "new", latte(nil)).wantsProblem(t, 422, "invalid", "/lines/0/item")
	if n := s.orderCount(t); n != len(first) {
		t.Errorf("%d keys made %d orders", len(first), n)
	}
}

// headers are those that are not empty.
func headers(given ...string) []string {
	var set []string
	for _, header := range given {
		if header != "" {
			set = append(set, header)
		}
	}
	return set
}

// TestKeyReused sends other bytes under a key, be their meaning the same, or be they wrong besides.
func TestKeyReused(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	body, err := json.Marshal(latte(nil))
	if err != nil {
		t.Fatal(err)
	}
	first := s.placeUnder(t, "k", string(body)).wants(t, 202)
	for name, other := range map[string]any{
		"another name":       latte(object{"customer": object{"name": "Bob"}}),
		"a space more":       string(body) + " ",
		"an unknown item":    latte(object{"lines": []object{{"item": "nothing", "quantity": 1}}}),
		"pickup in the past": latte(object{"pickup_at": inFuture(-time.Hour)}),
		"expecting too much": latte(object{"expected_total": 1}),
	} {
		t.Run(name, func(t *testing.T) {
			s.placeUnder(t, "k", other).wantsProblem(t, 422, "idempotency_key_reused")
			s.placeUnder(t, "k", other, "Prefer: wait=5").wantsProblem(t, 422, "idempotency_key_reused")
		})
	}
	s.placeUnder(t, "k", string(body)).wantsReplay(t, first)
	// Another store and another route know nothing of this key, and keys differ by case.
	elsewhere := s.call(t, "POST", "/v1/stores/dumbo/orders", "", string(body), "Idempotency-Key: k").wants(t, 202)
	upper := s.placeUnder(t, "K", string(body)).wants(t, 202)
	if elsewhere.Header.Get("Idempotency-Replayed")+upper.Header.Get("Idempotency-Replayed") != "" || s.orderCount(t) != 3 {
		t.Errorf("%d orders, want 3", s.orderCount(t))
	}
}

// TestRefusalLeavesKeyUnused has the same request succeed under its key once what stood against it is gone.
func TestRefusalLeavesKeyUnused(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	total := s.place(t, latte(nil)).wants(t, 202).order(t).Total
	pickup := time.Now().Add(3 * time.Hour).UTC().Format(time.RFC3339)
	always := s.call(t, "GET", testStorePath, "", nil).store(t).Hours
	pricier := func(by int64) func() {
		return func() { s.changeMenu(t, staff, func(m *db.Menu) { m.Item("latte").Sizes[0].Price += by }) }
	}
	set := func(changes object) func() { return func() { s.patch(t, staff, testStore, changes) } }
	available := func(is bool) func() {
		return func() { s.changeMenu(t, staff, func(m *db.Menu) { m.Item("latte").Available = is }) }
	}
	var full order
	for _, x := range []struct {
		code         string
		status       int
		body         object
		block, clear func()
	}{
		{"store_paused", 409, latte(nil), set(object{"paused_until": inFuture(time.Hour)}), set(object{"paused_until": nil})},
		{"store_closed", 409, latte(nil), set(object{"hours": []object{}}), set(object{"hours": always})},
		{"price_changed", 409, latte(object{"expected_total": total}), pricier(1), pricier(-1)},
		{"invalid", 422, latte(nil), available(false), available(true)},
		{"slot_full", 409, latte(object{"pickup_at": pickup}), func() {
			s.patch(t, staff, testStore, object{"slot_limit": 1})
			full = s.place(t, latte(object{"pickup_at": pickup})).wants(t, 202).order(t)
		}, func() { s.call(t, "POST", full.path()+"/cancel", full.Token, nil).wants(t, 200) }},
	} {
		for _, prefer := range []string{"", "Prefer: wait=1"} {
			key := uuid.NewString()
			x.block()
			s.placeUnder(t, key, x.body, headers(prefer)...).wantsProblem(t, x.status, x.code)
			s.placeUnder(t, key, latte(object{"customer": object{"name": "Bob"}, "lines": x.body["lines"], "tip": -1})).wantsProblem(t, 422, "invalid")
			x.clear()
			a := s.placeUnder(t, key, x.body, headers(prefer)...)
			if a.StatusCode >= 300 || a.Header.Get("Idempotency-Replayed") != "" {
				t.Errorf("after %s the same key gives %d %s", x.code, a.StatusCode, a.body)
			}
			s.placeUnder(t, key, x.body).wantsReplay(t, a)
			if x.code == "slot_full" {
				s.call(t, "POST", a.order(t).path()+"/cancel", a.order(t).Token, nil).wants(t, 200)
			}
		}
	}
}

// TestOrderOfChecks breaks several rules at once; the first in the order credential, key, body, replay,
// business rules is the one that is told.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.placeUnder(t, "used", latte(nil)).wants(t, 202)
	unknown := latte(object{"lines": []object{{"item": "nothing", "quantity": 1}}})
	s.call(t, "POST", testOrdersPath, "", `{"oops`).wantsProblem(t, 400, "idempotency_key_missing")
	s.placeUnder(t, "", `{"oops`).wantsProblem(t, 400, "idempotency_key_missing")
	for _, key := range []string{strings.Repeat("k", 256), "two words", "käse", "tab\tin"} {
		s.placeUnder(t, key, `{"oops`).wantsProblem(t, 400, "idempotency_key_invalid")
	}
	s.placeUnder(t, "used", `{"oops`).wantsProblem(t, 400, "malformed_json")
	s.placeUnder(t, "used", object{"x": 1}).wants(t, 422)
	s.placeUnder(t, "used", object{}).wantsProblem(t, 422, "invalid", "/fulfilment", "/customer", "/lines", "/payment")
	s.placeUnder(t, "used", unknown).wantsProblem(t, 422, "idempotency_key_reused")
	s.placeUnder(t, "fresh", unknown).wantsProblem(t, 422, "invalid", "/lines/0/item")
	s.placeUnder(t, strings.Repeat("~", 255), latte(nil)).wants(t, 202)

	failed := s.place(t, latte(object{"payment": object{"method": "card", "token": "tok_declined"}}), "Prefer: wait=10").wants(t, 201).order(t)
	visa := object{"payment": object{"method": "card", "token": "tok_visa"}}
	pay := func(credential string, body any, key ...string) answer {
		return s.call(t, "POST", failed.path()+"/payment", credential, body, key...)
	}
	pay("", `{"oops`).wantsProblem(t, 401, "unauthenticated")
	pay("fpo_nonsense", `{"oops`).wantsProblem(t, 401, "unauthenticated")
	pay(s.device(t, testStore), `{"oops`).wantsProblem(t, 403, "forbidden")
	pay(failed.Token, `{"oops`).wantsProblem(t, 400, "idempotency_key_missing")
	pay(failed.Token, `{"oops`, "Idempotency-Key: p").wantsProblem(t, 400, "malformed_json")
	pay(failed.Token, object{"payment": object{"method": "counter"}}, "Idempotency-Key: p").wantsProblem(t, 422, "invalid", "/payment/method")
	paid := pay(failed.Token, visa, "Idempotency-Key: p")
	pay(failed.Token, visa, "Idempotency-Key: p").wantsReplay(t, paid)
	pay(failed.Token, `{"payment":{"method":"card","token":"tok_slow"}}`, "Idempotency-Key: p").wantsProblem(t, 422, "idempotency_key_reused")
	pay(failed.Token, visa, "Idempotency-Key: q").wantsProblem(t, 409, "not_payable")
}

// TestManyRequestsOneKey sends 64 requests with one key at once: plain, waiting, mixed, and through two
// processes on one database. They make one order, and all get the same bytes, one of them as the first.
func TestManyRequestsOneKey(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	processes := []*shop{s, openShopOn(t, s.databaseURL)}
	orders := 0
	for name, x := range map[string]struct {
		body      object
		processes []*shop
		prefers   []string
	}{
		"plain":                 {latte(nil), processes[:1], []string{""}},
		"counter":               {atCounter(), processes, []string{""}},
		"waiting":               {latte(nil), processes[:1], []string{"Prefer: wait=10"}},
		"some waiting":          {latte(nil), processes[:1], []string{"", "Prefer: wait=10", "Prefer: wait=1"}},
		"plain, two processes":  {latte(nil), processes, []string{""}},
		"mixed, two processes":  {latte(nil), processes, []string{"", "", "Prefer: wait=10", "Prefer: wait=1"}},
		"failed, two processes": {latte(object{"payment": object{"method": "card", "token": "tok_declined"}}), processes, []string{"Prefer: wait=10"}},
	} {
		key := uuid.NewString()
		answers := together(t, 64, func(i int) answer {
			return x.processes[i%len(x.processes)].placeUnder(t, key, x.body, headers(x.prefers[i%len(x.prefers)])...)
		})
		first := 0
		for i, a := range answers {
			if a.StatusCode != answers[0].StatusCode || !bytes.Equal(a.body, answers[0].body) {
				t.Fatalf("%s: two answers:\n%d %s\n%d %s", name, answers[0].StatusCode, answers[0].body, a.StatusCode, a.body)
			}
			if answers[i].Header.Get("Idempotency-Replayed") == "" {
				first++
			}
		}
		if orders++; first != 1 || s.orderCount(t) != orders || answers[0].StatusCode >= 300 {
			t.Errorf("%s: %d first answers of %d and %d orders instead of %d", name, first, answers[0].StatusCode, s.orderCount(t), orders)
		}
		processes[1].placeUnder(t, key, x.body).into(t, new(order))
	}
}
