package main

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestFindAnOrder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := visitor{cookie: s.signedIn(t, "mia", db.Support)}
	cookie := "Cookie: session=" + mia.cookie.Value
	s.exec(t, `update stores set name = case slug when 'dumbo' then 'Österreich Annex' else 'Österreich' end where slug in ('hayes-valley', 'dumbo')`)
	ada := s.staff(t, "ada", db.Manager)
	for _, slug := range []string{"hayes-valley", "dumbo"} {
		s.patch(t, ada, slug, object{"slot_minutes": 20}) // the catalog reads a store again when its settings change
	}
	s.place(t, atCounter())
	second := s.place(t, atCounter()).order(t)
	store, _ := s.api.catalog.Store(testStore)
	today := time.Now().In(store.Location)
	day := func(days int) string { return today.AddDate(0, 0, days).Format(time.DateOnly) }

	for what, q := range map[string]url.Values{
		"its number":            {"store": {testStore}, "number": {"2"}, "day": {""}, "order": {""}},
		"its number of a day":   {"store": {testStore}, "number": {" 2 "}, "day": {day(0)}},
		"a part of the name":    {"store": {"ferry b"}, "number": {"2"}},
		"name and city":         {"store": {"Ferry  San Francisco"}, "number": {"2"}},
		"its id":                {"store": {testStore}, "order": {second.ID}},
		"its id alone":          {"order": {second.ID}},
		"another store's id":    {"store": {"hayes-valley"}, "order": {second.ID}},
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
		"a whole name":   {url.Values{"store": {"österreich"}, "number": {"2"}}, 404, ">Österreich has no order 2 of"},
		"unknown id":     {url.Values{"store": {testStore}, "order": {uuid.NewString()}}, 404, "There is no order with this id"},
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

// TestFindAnOrderOfTheNight has a store put its clock forward at midnight: that Saturday ends at the moment at which Sunday
// begins with one o'clock.
func TestFindAnOrderOfTheNight(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	saturday, sunday := nightOrder(t, url, "2026-09-05T23:15:00-04:00"), nightOrder(t, url, "2026-09-06T01:15:00-03:00")
	s := openShopOn(t, url)
	mia := visitor{cookie: s.signedIn(t, "mia", db.Support)}
	for day, want := range map[string]string{"2026-09-05": saturday, "2026-09-06": sunday} {
		status, header := s.ask(t, mia, "GET", "/staff/orders?store="+testStore+"&number=7&day="+day)
		if status != 303 || header.Get("Location") != "/staff/"+testStore+"/orders/"+want {
			t.Errorf("number 7 of %s: %d %s, want %s", day, status, header.Get("Location"), want)
		}
	}
}

// nightOrder is number 7 of its day at a store in Chile.
func nightOrder(t *testing.T, url, at string) (id string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `update stores set timezone = 'America/Santiago' where slug = $1`, testStore); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `select ensure_partitions($1::timestamptz, 1)`, at); err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), `
    insert into orders (store_id, id, number, status, fulfilment, snapshot, total, payment_method, payment_status, updated_at)
    select store_id, overlay(uuid_floor($2::timestamptz)::text placing '7' from 15)::uuid, 7, 'picked_up', 'pickup', '{}', 100, 'card', 'captured', $2
    from stores
    where slug = $1
    returning id::text`, testStore, at).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestOrdersOfATime lists the orders placed from one moment and before another, to the microsecond.
func TestOrdersOfATime(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff, o := s.staff(t, "mia", db.Support), s.place(t, atCounter()).order(t)
	var placed struct {
		At time.Time `json:"placed_at"`
	}
	s.call(t, "GET", o.path(), o.Token, nil).wants(t, 200).into(t, &placed)
	at := placed.At
	after := at.Add(time.Microsecond)
	for query, listed := range map[string]bool{
		"from=" + at.Format(time.RFC3339Nano):    true,
		"from=" + after.Format(time.RFC3339Nano): false,
		"to=" + at.Format(time.RFC3339Nano):      false,
		"to=" + after.Format(time.RFC3339Nano):   true,
		"to=0001-01-01T00:00:00Z":                false,
		"from=0001-01-01T00:00:00Z":              true,
	} {
		var page struct{ Orders []order }
		s.call(t, "GET", "/v1/stores/"+testStore+"/orders?"+query, staff, nil).wants(t, 200).into(t, &page)
		if (len(page.Orders) == 1) != listed {
			t.Errorf("placed at %s, asked for %s: %d orders", at, query, len(page.Orders))
		}
	}
}
