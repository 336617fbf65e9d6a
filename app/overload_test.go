package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db/dbtest"
)

// hold keeps everybody from writing to a table, until the function returned is called or the test ends.
func (s *shop) hold(t *testing.T, table string) (release func()) {
	t.Helper()
	held, err := s.api.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Rollback(context.Background()) })
	if _, err := held.Exec(t.Context(), "lock table "+table+" in exclusive mode"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := held.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTooManyAtOnce holds up the writing of orders until no more of them may wait: the next ones are refused at once,
// and those that were taken are placed, every one.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	release := s.hold(t, "order_counters")
	const room, asked = 200, 260 // the rest of the room is taken by nobody, so that a slow machine can fill it
	s.api.room.taken.Add(placingsAtOnce - room)
	all := begin(t, asked, func(int) answer { return s.place(t, atCounter()) })
	dbtest.Becomes(t, 8*time.Second, "no room is left", s.api.room.full)

	began := time.Now()
	refused := s.place(t, atCounter())
	refused.wantsProblem(t, 503, "overloaded")
	if refused.Header.Get("Retry-After") == "" || time.Since(began) > 5*time.Second { // who waits for the lock is told after ten
		t.Errorf("refused after %v with %v", time.Since(began), refused.Header)
	}
	release()
	placed := 0
	for _, a := range all() {
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

// TestBoardBehind holds up the board: while its commands wait no more orders are taken, and afterwards there are.
func TestBoardBehind(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	release := s.hold(t, "orders")
	all := begin(t, 5, func(int) answer {
		taps := make([]object, 500)
		for i := range taps {
			taps[i] = command("start", object{"order": uuid.NewString(), "base_version": 1})
		}
		return s.call(t, "POST", testStorePath+"/commands", board, object{"commands": taps})
	})
	dbtest.Becomes(t, 8*time.Second, "the board is behind", s.api.orders.Behind)
	refused := s.place(t, atCounter())
	if refused.wantsProblem(t, 503, "overloaded"); refused.Header.Get("Retry-After") == "" {
		t.Errorf("refused with %v", refused.Header)
	}
	release()
	for n := range countStatus(all()) {
		if n != 200 && n != 503 { // 503 where a slow machine held it up for longer than a flush may take
			t.Errorf("a board got %d", n)
		}
	}
	dbtest.Becomes(t, 5*time.Second, "there is room again", func() bool { return s.place(t, atCounter()).StatusCode == http.StatusCreated })
}

func TestRoom(t *testing.T) {
	t.Parallel()
	const lately, longAgo = int64(time.Hour), -int64(pressed)
	for _, x := range []struct{ refused, taken, room int64 }{
		{longAgo, 0, 1}, {longAgo, placingsPressed, 1}, {longAgo, placingsAtOnce - 1, 1}, {longAgo, placingsAtOnce, 0},
		{lately, 0, 1}, {lately, placingsPressed - 1, 1}, {lately, placingsPressed, 0}, {lately, placingsAtOnce - 1, 0}, {lately, placingsAtOnce, 0},
	} {
		var r room
		r.refused.Store(x.refused)
		r.taken.Store(x.taken)
		if full, entered, taken := r.full(), r.enter(), r.taken.Load(); full != (x.room == 0) || entered != (x.room == 1) || taken != x.taken+x.room {
			t.Errorf("with %d in it, refused at %d: full is %v, entered %v, and then there are %d", x.taken, x.refused, full, entered, taken)
		}
	}
}

// TestUnderPressure wants less room once somebody was refused, by the door or by the server.
func TestUnderPressure(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	send := s.connected(t)
	for _, more := range [][]string{nil, {"X-Large: " + strings.Repeat("x", firstLook)}} { // the door leaves that to the server
		s.api.room.taken.Store(placingsAtOnce)
		began := int64(sinceStart())
		if response := send(placingText(t, more...)); response.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%d", response.StatusCode)
		}
		if s.api.room.refused.Load() < began {
			t.Errorf("nobody took note of a refusal, with %d more lines", len(more))
		}
	}
}
