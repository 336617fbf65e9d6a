package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// queryOf reads everything there is from a query string, and says what the first fault was.
func queryOf(raw string) (q *query, limit int, cursor string) {
	req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	req.URL.RawQuery = raw
	q = readQuery(echo.New().NewContext(req, httptest.NewRecorder()))
	limit, cursor = q.limit(), q.cursor("list")
	q.text("q", 10)
	q.near()
	q.date("date")
	q.time("from")
	q.oneOf("status", "placed", "ready")
	return q, limit, cursor
}

func TestQueryFaults(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"limit=0", "limit=201", "limit=-1", "limit=1.5", "limit=x", "limit=", "limit=+5", "limit=99999999999999999999", "limit=5&limit=6", "limit=1%00",
		"cursor=", "cursor=%3D", "cursor=a+b", "cursor=A", "cursor=" + strings.Repeat("A", 600), "cursor=AA&cursor=AA", "cursor=AB",
		"near=", "near=1", "near=1,", "near=91,0", "near=.5,1", "near=5.,1", "near=0,181", "near=NaN,0", "near=1e1,0", "near=0x1p1,0", "near=1,2,3", "near=Inf,0", "near=+1,2",
		"date=2026-02-30", "date=", "date=31.1.2026", "date=2026-01-31T00:00:00Z",
		"from=yesterday", "from=2026-01-31", "from=", "from=2026-01-31T09:00:00+01:00",
		"status=", "status=lost", "q=a%00", "q=%ff", "q=12345678901", "q=%zz", "a;b",
	} {
		q, _, _ := queryOf(raw)
		if p := toProblem(q.err); q.err == nil || p.Code != "bad_query" || p.Status != 400 || p.Detail == "" {
			t.Errorf("%s: %v", raw, q.err)
		}
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]int{"": 50, "limit=1": 1, "limit=200": 200, "limit=007": 7, "unknown=1&x=%20": 50} {
		if q, limit, cursor := queryOf(raw); q.err != nil || limit != want || cursor != "" {
			t.Errorf("%q: %d %q %v", raw, limit, cursor, q.err)
		}
	}
	q, _, _ := queryOf("near=-37.7955,122.3937&date=2026-01-31&from=" + url.QueryEscape("2026-01-31T09:00:00+01:00") + "&status=ready&q=Ferry")
	lat, lon, ok := q.near()
	day, dated := q.date("date")
	if q.err != nil || !ok || lat != -37.7955 || lon != 122.3937 || !dated || day.Day() != 31 {
		t.Errorf("%v %v %v %v %v: %v", lat, lon, ok, day, dated, q.err)
	}
	if from := q.time("from"); !from.Equal(time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)) || from.Location() != time.UTC {
		t.Errorf("from %v", from)
	}
	if q.oneOf("status", "ready") != "ready" || q.text("q", 10) != "Ferry" {
		t.Error("words are lost")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("ferry-building")
	f.Add("019ab6c0-5f00-7abc-8def-0123456789ab")
	f.Add("\x00\xff")
	f.Fuzz(func(t *testing.T, place string) {
		if q, _, got := queryOf("cursor=" + newCursor("list", place)); place != "" && len(place) <= 375 && (q.err != nil || got != place) {
			t.Errorf("%q comes back as %q: %v", place, got, q.err)
		}
		if q, _, got := queryOf("cursor=" + url.QueryEscape(place)); q.err == nil && newCursor("list", got) != place {
			t.Errorf("%q is taken for %q", place, got)
		}
	})
}
