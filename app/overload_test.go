package main

import (
	"context"
	"testing"
	"time"

	"frenchpress/db/dbtest"
)

// TestTooManyAtOnce holds up the writing of orders until no more of them may wait: the next ones are refused at once,
// and those that were taken are placed, every one.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	held, err := s.api.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Rollback(context.Background()) })
	if _, err := held.Exec(t.Context(), `lock table order_counters in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	const room, asked = 200, 260 // the rest of the room is taken by nobody, so that a slow machine can fill it
	s.api.room.taken.Add(placingsAtOnce - room)
	came := make(chan []answer, 1)
	go func() { came <- together(t, asked, func(int) answer { return s.place(t, atCounter()) }) }()
	dbtest.Becomes(t, 8*time.Second, "no room is left", s.api.room.full)

	began := time.Now()
	refused := s.place(t, atCounter())
	refused.wantsProblem(t, 503, "overloaded")
	if refused.Header.Get("Retry-After") == "" || time.Since(began) > time.Second {
		t.Errorf("refused after %v with %v", time.Since(began), refused.Header)
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	placed := 0
	for _, a := range <-came {
		switch a.StatusCode {
		case 201:
			placed++
		case 503:
		default:
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	if placed < room || placed == asked || s.orderCount(t) != placed {
		t.Errorf("%d of %d placed, %d orders are there", placed, asked, s.orderCount(t))
	}
	s.api.room.taken.Add(room - placingsAtOnce)
	s.place(t, atCounter()).wants(t, 201)
}

// TestUnderPressure wants less room while somebody was refused a moment ago.
func TestUnderPressure(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	lately, longAgo := time.Now().Add(time.Hour), time.Now().Add(-pressed)
	for _, x := range []struct {
		refused time.Time
		taken   int64
		status  int
	}{
		{longAgo, placingsAtOnce - 1, 201},
		{longAgo, placingsAtOnce, 503},
		{lately, placingsAtOnce - 1, 503},
		{lately, placingsPressed, 503},
		{lately, placingsPressed - 1, 201},
	} {
		s.api.room.refused.Store(x.refused.UnixNano())
		s.api.room.taken.Store(x.taken)
		began := time.Now()
		if a := s.place(t, atCounter()); a.StatusCode != x.status {
			t.Errorf("with %d on their way in an order is answered %d, not %d", x.taken, a.StatusCode, x.status)
		}
		if noted := s.api.room.refused.Load(); (noted >= began.UnixNano() && noted < lately.UnixNano()) != (x.status == 503) {
			t.Errorf("with %d on their way in, and %d, it is noted that somebody was refused at %d, begun %d", x.taken, x.status, noted, began.UnixNano())
		}
	}
}
