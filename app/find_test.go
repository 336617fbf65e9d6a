package main

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

func TestFindAnOrder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := visitor{cookie: s.signedIn(t, "mia", db.Support)}
	cookie := "Cookie: session=" + mia.cookie.Value
	s.exec(t, `update stores set name = 'Österreich' where slug = 'hayes-valley'`)
	s.patch(t, s.staff(t, "ada", db.Manager), "hayes-valley", object{"slot_minutes": 20}) // the catalog reads a store again when its settings change
	first, second := s.place(t, atCounter()).order(t), s.place(t, atCounter()).order(t)
	store, _ := s.api.catalog.Store(testStore)
	today := time.Now().In(store.Location)
	day := func(days int) string { return today.AddDate(0, 0, days).Format(time.DateOnly) }

	for what, q := range map[string]url.Values{
		"its number":            {"store": {testStore}, "number": {"2"}, "day": {""}, "order": {""}},
		"its number of a day":   {"store": {testStore}, "number": {" 2 "}, "day": {day(0)}},
		"a part of the name":    {"store": {"ferry b"}, "number": {"2"}},
		"its id":                {"store": {testStore}, "order": {second.ID}},
		"its id, with a number": {"store": {testStore}, "order": {" " + second.ID}, "number": {"1"}},
	} {
		status, header := s.ask(t, mia, "GET", "/staff/orders?"+q.Encode())
		if want := "/staff/" + testStore + "/orders/" + second.ID; status != 303 || header.Get("Location") != want {
			t.Errorf("%s: %d %s", what, status, header.Get("Location"))
		}
	}
	for what, x := range map[string]struct {
		q      url.Values
		status int
		want   string
	}{
		"no such number": {url.Values{"store": {testStore}, "number": {"3"}}, 404, "has no order 3 of " + today.Format("2 January 2006")},
		"another day":    {url.Values{"store": {testStore}, "number": {"2"}, "day": {day(-1)}}, 404, "has no order 2 of"},
		"another store":  {url.Values{"store": {"hayes-valley"}, "number": {"2"}}, 404, ">Österreich has no order 2 of"},
		"foreign id":     {url.Values{"store": {"hayes-valley"}, "order": {first.ID}}, 404, "has no order with this id"},
		"unknown id":     {url.Values{"store": {testStore}, "order": {uuid.NewString()}}, 404, "has no order with this id"},
		"no such store":  {url.Values{"store": {"nowhere"}, "number": {"2"}}, 404, "There is no store of that name"},
		"many stores":    {url.Values{"store": {"a"}, "number": {"2"}}, 400, "Several stores"},
		"no store":       {url.Values{"number": {"2"}}, 400, "Say at which store"},
		"nothing":        {url.Values{"store": {testStore}}, 400, "s number, or its id"},
		"no number":      {url.Values{"store": {testStore}, "number": {"-2"}}, 400, "s number, or its id"},
		"large number":   {url.Values{"store": {testStore}, "number": {strconv.Itoa(1 << 40)}}, 400, "s number, or its id"},
		"no day":         {url.Values{"store": {testStore}, "number": {"2"}, "day": {"<tomorrow>"}}, 400, "A day looks like"},
		"far day":        {url.Values{"store": {testStore}, "number": {"2"}, "day": {"0001-01-01"}}, 404, "has no order 2 of 1 January 0001"},
		"no id":          {url.Values{"store": {testStore}, "order": {"x"}}, 400, "s id looks like"},
	} {
		got := s.call(t, "GET", "/staff/orders?"+x.q.Encode(), "", nil, cookie, "Accept: text/html")
		if body := string(got.body); got.StatusCode != x.status || !strings.Contains(body, x.want) || !strings.Contains(body, "Behind the counter") || strings.Contains(body, "<tomorrow>") {
			t.Errorf("%s: %d %s", what, got.StatusCode, body)
		}
	}
	again := s.call(t, "GET", "/staff/orders?"+url.Values{"store": {testStore}, "number": {"77"}}.Encode(), "", nil, cookie, "Accept: text/html")
	if !strings.Contains(string(again.body), `value="77"`) || !strings.Contains(string(again.body), `value="`+testStore+`"`) {
		t.Error("what was typed is gone")
	}
}
