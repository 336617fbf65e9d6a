package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"frenchpress/db"
)

// shownStore is a store as clients see it.
type shownStore struct {
	Slug        string
	Name        string
	OpenNow     bool `json:"open_now"`
	Hours       []db.DayHours
	Accepting   bool
	PausedUntil *time.Time `json:"paused_until"`
	OpensAt     *time.Time `json:"opens_at"`
	WaitMinutes int        `json:"wait_minutes"`
	SlotMinutes int        `json:"slot_minutes"`
	SlotLimit   *int       `json:"slot_limit"`
}

func (a answer) store(t *testing.T) shownStore {
	t.Helper()
	var v shownStore
	a.into(t, &v)
	return v
}

const testStorePath = "/v1/stores/" + testStore

// patch changes settings of a store with the ETag that it has, and returns the answer.
func (s *shop) patch(t *testing.T, staff, slug string, changes object) answer {
	t.Helper()
	seen := s.call(t, "GET", "/v1/stores/"+slug, "", nil).wants(t, http.StatusOK)
	return s.call(t, "PATCH", "/v1/stores/"+slug, staff, changes, "If-Match: "+seen.Header.Get("ETag")).wants(t, http.StatusOK)
}

// inFuture is a time as the API takes it.
func inFuture(after time.Duration) string { return time.Now().Add(after).UTC().Format(time.RFC3339) }

// closedNow are hours of a store in Los Angeles that opens in an hour or later, and for an hour.
func closedNow(t *testing.T) (hours []object, opens time.Time) {
	t.Helper()
	place, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	local := time.Now().In(place)
	opens = time.Date(local.Year(), local.Month(), local.Day()+1, 12, 0, 0, 0, place)
	day := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}[opens.Weekday()]
	return []object{{"day": day, "opens": "12:00", "closes": "13:00"}}, opens
}

func TestStore(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	v := s.call(t, "GET", testStorePath, "", nil).wants(t, 200).store(t)
	if v.Slug != testStore || !v.OpenNow || !v.Accepting || v.PausedUntil != nil || v.SlotLimit != nil || len(v.Hours) != 7 {
		t.Errorf("the demo store is %+v", v)
	}
	body := atCounter()
	for range 20 {
		s.place(t, body).wants(t, 201)
	}
	body["pickup_at"] = time.Now().Add(26 * time.Hour)
	for range 20 {
		s.place(t, body).wants(t, 201)
	}
	if busy := s.call(t, "GET", testStorePath, "", nil).store(t); busy.WaitMinutes != 3*v.WaitMinutes {
		t.Errorf("with 20 orders waiting, and 20 for tomorrow, wait_minutes is %d, with none %d", busy.WaitMinutes, v.WaitMinutes)
	}
}

func TestUnknownStore(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, path := range []string{"", "/menu", "/slots"} {
		for _, slug := range []string{"nowhere", "Ferry-Building", "%00", "%ff", "ferry-building%2Fmenu"} {
			s.call(t, "GET", "/v1/stores/"+slug+path, "", nil).wantsProblem(t, 404, "not_found")
		}
	}
	s.call(t, "POST", "/v1/stores/nowhere/quotes", "", latte(nil)).wantsProblem(t, 404, "not_found")
	s.call(t, "POST", "/v1/stores/nowhere/orders", "", latte(nil), "Idempotency-Key: k").wantsProblem(t, 404, "not_found")
	staff := s.staff(t, "mia", db.Manager)
	s.call(t, "PATCH", "/v1/stores/nowhere", staff, object{}, "If-Match: *").wantsProblem(t, 404, "not_found")
	s.call(t, "PUT", "/v1/stores/nowhere/menu", staff, object{}, "If-Match: *").wantsProblem(t, 404, "not_found")
}

func TestPatchStore(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	hours, _ := closedNow(t)
	until := inFuture(time.Hour)
	for name, x := range map[string]struct {
		slug    string // each its own: they run in any order
		changes object
		check   func(shownStore) bool
	}{
		"nothing":      {"hayes-valley", object{}, func(v shownStore) bool { return v.Accepting && v.SlotMinutes == 15 }},
		"hours":        {"pike-place", object{"hours": hours}, func(v shownStore) bool { return !v.OpenNow && !v.Accepting && len(v.Hours) == 1 }},
		"no hours":     {"dumbo", object{"hours": []object{}}, func(v shownStore) bool { return !v.OpenNow && len(v.Hours) == 0 }},
		"pause":        {"fulton-market", object{"paused_until": until}, func(v shownStore) bool { return v.OpenNow && !v.Accepting && v.PausedUntil != nil }},
		"slot_minutes": {"grand-central", object{"slot_minutes": 30}, func(v shownStore) bool { return v.SlotMinutes == 30 && v.SlotLimit == nil }},
		"slot_limit":   {testStore, object{"slot_limit": 20}, func(v shownStore) bool { return v.SlotLimit != nil && *v.SlotLimit == 20 }},
	} {
		patched := s.patch(t, staff, x.slug, x.changes)
		read := s.call(t, "GET", "/v1/stores/"+x.slug, "", nil).wants(t, 200)
		if !x.check(patched.store(t)) || string(read.body) != string(patched.body) || read.Header.Get("ETag") != patched.Header.Get("ETag") {
			t.Errorf("%s: PATCH answers %s, GET %s", name, patched.body, read.body)
		}
	}
	v := s.patch(t, staff, testStore, object{"slot_limit": nil, "slot_minutes": 60, "paused_until": until}).store(t)
	if v.SlotLimit != nil || v.SlotMinutes != 60 || v.Accepting || !v.OpenNow {
		t.Errorf("several fields at once make %+v", v)
	}
	if v := s.patch(t, staff, testStore, object{"paused_until": nil}).store(t); !v.Accepting || v.PausedUntil != nil || v.SlotMinutes != 60 {
		t.Errorf("the end of a pause makes %+v", v)
	}
	if v := s.patch(t, staff, testStore, object{"paused_until": inFuture(-time.Hour)}).store(t); !v.Accepting || v.PausedUntil != nil {
		t.Errorf("a pause that is over makes %+v", v)
	}
}

// TestStoreOpensAt asks stores that take no orders when they do again.
func TestStoreOpensAt(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	hours, opens := closedNow(t)
	soon := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	for name, x := range map[string]struct {
		slug    string
		changes object
		want    time.Time // zero for none
	}{
		"open":                {testStore, object{}, time.Time{}},
		"closed":              {"pike-place", object{"hours": hours}, opens},
		"never open":          {"dumbo", object{"hours": []object{}}, time.Time{}},
		"paused":              {"grand-central", object{"paused_until": sent(soon)}, soon},
		"paused for ever":     {"fulton-market", object{"paused_until": "9999-12-31T23:59:59Z", "hours": hours}, time.Time{}},
		"paused, closed then": {"hayes-valley", object{"paused_until": sent(soon), "hours": hours}, opens},
	} {
		got := s.patch(t, staff, x.slug, x.changes).store(t).OpensAt
		if got == nil != x.want.IsZero() || got != nil && !got.Equal(x.want) {
			t.Errorf("%s: opens_at is %v, want %v", name, got, x.want)
		}
	}
}

func TestPatchStorePrecondition(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	tag := s.call(t, "GET", testStorePath, "", nil).wants(t, 200).Header.Get("ETag")
	pause := object{"paused_until": inFuture(time.Hour)}
	s.call(t, "PATCH", testStorePath, staff, pause).wantsProblem(t, 428, "precondition_required")
	s.call(t, "PATCH", testStorePath, staff, pause, `If-Match: "of-yore"`).wantsProblem(t, 412, "precondition_failed")
	s.call(t, "PATCH", testStorePath, staff, pause, "If-Match: W/"+tag).wantsProblem(t, 412, "precondition_failed")
	s.call(t, "PATCH", testStorePath, staff, object{"slot_minutes": 30}, `If-Match: "of-yore", `+tag).wants(t, 200)
	s.call(t, "PATCH", testStorePath, staff, pause, "If-Match: "+tag).wantsProblem(t, 412, "precondition_failed")
	if v := s.call(t, "GET", testStorePath, "", nil).store(t); !v.Accepting {
		t.Error("a refused PATCH paused the store")
	}
	// Of those that saw the same settings, one gets through.
	tag = s.call(t, "GET", testStorePath, "", nil).Header.Get("ETag")
	answers := together(t, 8, func(i int) answer {
		return s.call(t, "PATCH", testStorePath, staff, object{"slot_minutes": 10 + i}, "If-Match: "+tag)
	})
	if n := countStatus(answers); n[200] != 1 || n[412] != 7 {
		t.Errorf("8 PATCHes with one ETag: %v", n)
	}
}

// TestPatchStoresTogether looks at the answers of changes that happen at the same time: each shows its own.
func TestPatchStoresTogether(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	stores := []string{testStore, "hayes-valley", "pike-place", "fulton-market", "grand-central", "dumbo"}
	together(t, len(stores), func(i int) answer {
		path := "/v1/stores/" + stores[i]
		tag := s.call(t, "GET", path, "", nil).Header.Get("ETag")
		for minutes := 5; minutes < 30; minutes++ {
			a := s.call(t, "PATCH", path, staff, object{"slot_minutes": minutes}, "If-Match: "+tag)
			if a.StatusCode != 200 || a.store(t).SlotMinutes != minutes {
				t.Errorf("%s: PATCH slot_minutes %d with the ETag of the answer before: %d %s", stores[i], minutes, a.StatusCode, a.body)
				return a
			}
			tag = a.Header.Get("ETag")
		}
		return answer{}
	})
}

func TestPatchStoreFaults(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	tag := s.call(t, "GET", testStorePath, "", nil).wants(t, 200).Header.Get("ETag")
	day := func(day, opens, closes string) []object {
		return []object{{"day": day, "opens": opens, "closes": closes}}
	}
	for name, x := range map[string]struct {
		changes  object
		pointers []string
	}{
		"unknown field":    {object{"name": "Mine"}, []string{"/name"}},
		"hours null":       {object{"hours": nil}, []string{"/hours"}},
		"hours no list":    {object{"hours": "always"}, []string{"/hours"}},
		"unknown day":      {object{"hours": day("monday", "07:00", "19:00")}, []string{"/hours/0/day"}},
		"bad times":        {object{"hours": day("mon", "7:00", "25:00")}, []string{"/hours/0/opens", "/hours/0/closes"}},
		"closes missing":   {object{"hours": []object{{"day": "mon", "opens": "07:00"}}}, []string{"/hours/0/closes"}},
		"overlap":          {object{"hours": append(day("mon", "20:00", "04:00"), day("tue", "03:00", "09:00")...)}, []string{"/hours/1"}},
		"pause no time":    {object{"paused_until": "noon"}, []string{"/paused_until"}},
		"pause for ever":   {object{"paused_until": "9999-12-31T23:59:59-01:00"}, []string{"/paused_until"}},
		"pause no string":  {object{"paused_until": true}, []string{"/paused_until"}},
		"minutes null":     {object{"slot_minutes": nil}, []string{"/slot_minutes"}},
		"minutes few":      {object{"slot_minutes": 4}, []string{"/slot_minutes"}},
		"minutes many":     {object{"slot_minutes": 241}, []string{"/slot_minutes"}},
		"minutes fraction": {object{"slot_minutes": 7.5}, []string{"/slot_minutes"}},
		"no place":         {object{"slot_limit": 0}, []string{"/slot_limit"}},
		"limit text":       {object{"slot_limit": "20"}, []string{"/slot_limit"}},
		"all at once": {object{"slot_limit": -1, "slot_minutes": 0, "paused_until": "x", "hours": day("x", "07:00", "08:00"), "x": 1},
			[]string{"/slot_limit", "/slot_minutes", "/paused_until", "/hours/0/day", "/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.call(t, "PATCH", testStorePath, staff, x.changes, "If-Match: "+tag).wantsProblem(t, 422, "invalid", x.pointers...)
		})
	}
	if now := s.call(t, "GET", testStorePath, "", nil).Header.Get("ETag"); now != tag {
		t.Errorf("refused changes moved the ETag from %s to %s", tag, now)
	}
}

func TestListStores(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	all := []string{"dumbo", testStore, "fulton-market", "grand-central", "hayes-valley", "pike-place"}
	for query, want := range map[string][]string{
		"":                              all,
		"?limit=200":                    all,
		"?q=san+francisco":              {testStore, "hayes-valley"},
		"?q=FERRY":                      {testStore},
		"?q=%20Pike%20":                 {"pike-place"},
		"?q=%25":                        {},
		"?q=_":                          {},
		"?q=tea":                        {},
		"?q=" + strings.Repeat("茶", 80): {},
		"?near=37.7955,-122.3937":       {testStore, "hayes-valley", "pike-place", "fulton-market", "dumbo", "grand-central"},
		"?near=40.75,-73.98&limit=2":    {"grand-central", "dumbo"},
		"?near=-90,180&limit=1&q=pike":  {"pike-place"},
		"?near=37.7764,-122.4242&q=ny":  {"dumbo", "grand-central"},
	} {
		got, cursor := s.stores(t, query)
		if !slices.Equal(want, got) || cursor != "" {
			t.Errorf("%q lists %v and a cursor %q, want %v", query, got, cursor, want)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "cursor=", "cursor=%21", "near=", "near=1",
		"near=91,0", "near=0,181", "near=NaN,0", "near=1,2,3", "near=0,0&cursor=YQ", "q=%00", "q=%ff", "q=%zz", "q=" + strings.Repeat("x", 241)} {
		s.call(t, "GET", "/v1/stores?"+query, "", nil).wantsProblem(t, 400, "bad_query")
	}
}

// stores are the slugs that a query lists, and the cursor for more.
func (s *shop) stores(t *testing.T, query string) (slugs []string, cursor string) {
	t.Helper()
	var page struct {
		Stores     []shownStore
		NextCursor string `json:"next_cursor"`
	}
	s.call(t, "GET", "/v1/stores"+query, "", nil).wants(t, 200).into(t, &page)
	for _, v := range page.Stores {
		slugs = append(slugs, v.Slug)
	}
	return slugs, page.NextCursor
}

func TestStorePages(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	all, _ := s.stores(t, "")
	for limit := 1; limit <= len(all); limit++ {
		var got []string
		cursor, pages := "", 0
		for ; pages == 0 || cursor != ""; pages++ {
			if pages > len(all) {
				t.Fatalf("limit %d: no end after %v", limit, got)
			}
			query := fmt.Sprintf("?limit=%d", limit)
			if cursor != "" {
				query += "&cursor=" + url.QueryEscape(cursor)
			}
			var page []string
			page, cursor = s.stores(t, query)
			got = append(got, page...)
		}
		if !slices.Equal(got, all) || pages != (len(all)+limit-1)/limit {
			t.Errorf("%d pages of %d list %v", pages, limit, got)
		}
	}
}
