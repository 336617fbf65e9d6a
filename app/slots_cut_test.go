package main

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestSlotsCutAnew changes how a store cuts and limits its slots: the orders it has already count, also those
// from before there was a limit, and those that were made.
func TestSlotsCutAnew(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	span := s.limitSlots(t, 50)[1]
	staff, board := s.staff(t, "mia", db.Manager), s.device(t, testStore)
	s.patch(t, staff, testStore, object{"slot_limit": nil})
	early := s.placed(t, span.pickup(0))
	s.place(t, span.pickup(119*time.Minute)).wants(t, 202)
	s.place(t, span.pickup(121*time.Minute)).wants(t, 202)
	gone := s.place(t, span.pickup(122*time.Minute)).wants(t, 202).order(t)
	s.cancel(t, gone).wants(t, 200)
	s.do(t, board, "ready", early, "applied")
	s.do(t, board, "collect", early, "applied")
	free := func(minutes time.Duration, limit int) (free []int) {
		s.patch(t, staff, testStore, object{"slot_minutes": int(minutes / time.Minute), "slot_limit": limit})
		for _, slot := range s.comingSlots(t) {
			if !slot.StartsAt.Before(span.StartsAt) && slot.StartsAt.Before(span.EndsAt) {
				free = append(free, *slot.Free)
			}
		}
		return free
	}
	for _, x := range []struct {
		minutes time.Duration
		limit   int
		free    []int
	}{{4 * time.Hour, 4, []int{1}}, {2 * time.Hour, 4, []int{2, 3}}, {time.Hour, 1, []int{0, 0, 0, 1}}, {4 * time.Hour, 3, []int{0}}} {
		if got := free(x.minutes, x.limit); !slices.Equal(got, x.free) {
			t.Errorf("slots of %v with a limit of %d have %v free, want %v", x.minutes, x.limit, got, x.free)
		}
	}
	s.place(t, span.pickup(3*time.Hour)).wantsProblem(t, 409, "slot_full")
	s.patch(t, staff, testStore, object{"slot_limit": 4})
	last := s.place(t, span.pickup(3*time.Hour)).wants(t, 202).order(t)
	s.place(t, span.pickup(3*time.Hour)).wantsProblem(t, 409, "slot_full")
	s.patch(t, staff, testStore, object{"slot_minutes": 120})
	s.cancel(t, last).wants(t, 200)
	if got := free(2*time.Hour, 4); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("cancelled after slots were cut anew, an order leaves %v free", got)
	}
}

// TestSlotEndedBeforeTheCut has a slot that began before the time that is counted anew and ended after it: both of its
// orders can be cancelled, the one that was counted and the one that was not.
func TestSlotEndedBeforeTheCut(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	coming := s.limitSlots(t, 50)
	was := coming[0].StartsAt.Add(-4 * time.Hour)
	orders := []order{s.placed(t, coming[1].pickup(0)), s.placed(t, coming[1].pickup(0))}
	for i, at := range []time.Time{was, coming[0].StartsAt.Add(-time.Second)} {
		s.exec(t, `update orders set pickup_at = $2, slot_starts_at = $3 where id = $1`, orders[i].ID, at, was)
	}
	s.exec(t, `insert into slots (store_id, starts_at, taken) select store_id, $2, 2 from stores where slug = $1`, testStore, was)
	s.patch(t, s.staff(t, "noor", db.Manager), testStore, object{"slot_limit": 49})
	for _, o := range orders {
		s.cancel(t, o).wants(t, 200)
	}
}

// TestSlotLimitMeetsOrders has a limit introduced while an order is between its first look at the store and its commit,
// and an order sent while a limit is being introduced: whichever is later waits, and the order counts.
func TestSlotLimitMeetsOrders(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	slots := s.limitSlots(t, 1)
	staff := s.staff(t, "mia", db.Manager)
	var slot slot
	order := func() answer { return s.place(t, slot.pickup(0)).wants(t, 202) }
	limit := func() (set answer) {
		dbtest.Becomes(t, 20*time.Second, "the limit is set", func() bool { // on a busy machine it may have to be tried again
			set = s.call(t, "PATCH", testStorePath, staff, object{"slot_limit": 5}, "If-Match: *")
			return set.StatusCode == http.StatusOK
		})
		return set
	}
	for i, x := range []struct {
		held          string // the table where first is made to wait
		first, second func() answer
	}{{"order_counters", order, limit}, {"audit", limit, order}} {
		slot = slots[i+1]
		s.patch(t, staff, testStore, object{"slot_limit": nil})
		s.oneDuringTheOther(t, x.held, x.first, x.second)
		for _, seen := range s.comingSlots(t) {
			if seen.StartsAt.Equal(slot.StartsAt) && *seen.Free != 4 {
				t.Fatalf("first held at %s: one order leaves %d of 5 places free", x.held, *seen.Free)
			}
		}
	}
}

// TestSettingsDoNotWaitForLong holds an order that a change of slots has to wait for: the change gives up, and orders, which
// wait behind it, are placed.
func TestSettingsDoNotWaitForLong(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "mia", db.Manager)
	o := s.place(t, latte(object{"pickup_at": time.Now().Add(time.Hour).Format(time.RFC3339)})).wants(t, 202).order(t)
	held, err := s.api.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := held.Exec(t.Context(), `select from orders where id = $1 for update`, o.ID); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	together(t, 3, func(i int) (none answer) {
		if i == 0 {
			s.call(t, "PATCH", testStorePath, staff, object{"slot_minutes": 30}, "If-Match: *").wantsProblem(t, 503, "overloaded")
			return none
		}
		time.Sleep(500 * time.Millisecond) // then the change waits
		return s.place(t, latte(nil)).wants(t, 202)
	})
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("they waited %v", took)
	}
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.patch(t, staff, testStore, object{"slot_minutes": 30})
}

// oneDuringTheOther holds first where it writes a table, until second is done or waits too.
func (s *shop) oneDuringTheOther(t *testing.T, table string, first, second func() answer) {
	t.Helper()
	held, err := s.api.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := held.Exec(t.Context(), "lock table "+table+" in share mode"); err != nil {
		t.Fatal(err)
	}
	waiting := func() int {
		return s.count(t, `select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`)
	}
	var done atomic.Bool
	together(t, 3, func(i int) (none answer) {
		switch i {
		case 0:
			return first()
		case 1:
			dbtest.Becomes(t, 30*time.Second, "the first waits", func() bool { return waiting() >= 1 })
			defer done.Store(true)
			return second()
		}
		dbtest.Becomes(t, 60*time.Second, "the second is done or waits", func() bool { return done.Load() || waiting() >= 2 })
		if err := held.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
		return none
	})
}
