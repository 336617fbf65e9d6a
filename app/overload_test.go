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
	s.api.placings.Add(placingsAtOnce - room)
	came := make(chan []answer, 1)
	go func() { came <- together(t, asked, func(int) answer { return s.place(t, atCounter()) }) }()
	dbtest.Becomes(t, 8*time.Second, "no room is left", s.api.full)

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
	s.place(t, atCounter()).wants(t, 201)
}
