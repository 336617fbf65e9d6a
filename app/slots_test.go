package main

import (
	"strings"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// slot is a pickup slot as clients see it.
type slot struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	Free     *int
}

func (s *shop) slots(t *testing.T, query string) []slot {
	t.Helper()
	var page struct{ Slots []slot }
	s.call(t, "GET", testStorePath+"/slots"+query, "", nil).wants(t, 200).into(t, &page)
	return page.Slots
}

// limitSlots gives the test store slots of four hours with a limit, and returns those of today and tomorrow.
func (s *shop) limitSlots(t *testing.T, limit int) []slot {
	t.Helper()
	return s.cutSlots(t, 240, limit)
}

// cutSlots is limitSlots for slots of any length. Where the first is about to end it waits until it has, for no test
// takes as long as the next one.
func (s *shop) cutSlots(t *testing.T, minutes, limit int) []slot {
	t.Helper()
	s.patch(t, s.staff(t, "mia", db.Manager), testStore, object{"slot_minutes": minutes, "slot_limit": limit})
	if left := time.Until(s.slots(t, "")[0].EndsAt); left < 30*time.Second {
		time.Sleep(left)
	}
	return s.comingSlots(t)
}

// comingSlots are the slots of today and tomorrow.
func (s *shop) comingSlots(t *testing.T) []slot {
	t.Helper()
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	year, month, day := time.Now().In(zone).Date()
	return append(s.slots(t, ""), s.slots(t, "?date="+time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))...)
}

// pickup is a latte to be collected some time after a slot begins.
func (s slot) pickup(after time.Duration) object {
	return latte(object{"pickup_at": s.StartsAt.Add(after).Format(time.RFC3339)})
}

// wantsSlotFull fails the test unless the answer is slot_full, with this slot as the next free one.
func (a answer) wantsSlotFull(t *testing.T, next slot, free int) {
	t.Helper()
	a.wantsProblem(t, 409, "slot_full")
	var full struct {
		NextSlot *slot `json:"next_slot"`
	}
	a.into(t, &full)
	if full.NextSlot == nil || !full.NextSlot.StartsAt.Equal(next.StartsAt) || !full.NextSlot.EndsAt.Equal(next.EndsAt) ||
		full.NextSlot.Free == nil || *full.NextSlot.Free != free {
		t.Fatalf("want the next slot at %s with %d free: %s", next.StartsAt, free, a.body)
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for i, x := range s.slots(t, "") {
		if x.Free != nil || x.EndsAt.Sub(x.StartsAt) != 15*time.Minute || (i > 0 && !x.StartsAt.After(time.Now())) {
			t.Errorf("slot %d of a store without a limit is %v", i, x)
		}
	}
	slots := s.limitSlots(t, 2)
	s.place(t, slots[1].pickup(0)).wants(t, 202)
	s.place(t, slots[2].pickup(0)).wants(t, 202)
	s.place(t, slots[2].pickup(time.Hour)).wants(t, 202)
	again := s.comingSlots(t)
	for i, want := range []int{2, 1, 0, 2} {
		if !again[i].StartsAt.Equal(slots[i].StartsAt) || again[i].Free == nil || *again[i].Free != want {
			t.Errorf("slot %d is %+v, want %d free", i, again[i], want)
		}
		if i > 0 && !again[i].StartsAt.Equal(again[i-1].EndsAt) {
			t.Errorf("there is a gap before %v", again[i])
		}
	}
	if free := s.limitSlots(t, 1)[2].Free; *free != 0 {
		t.Errorf("a limit below what is taken leaves %d free", *free)
	}
	for _, query := range []string{"?date=", "?date=today", "?date=2026-02-30", "?date=2026-11-24T00:00:00Z", "?date=%00"} {
		s.call(t, "GET", testStorePath+"/slots"+query, "", nil).wantsProblem(t, 400, "bad_query")
	}
	if past := s.slots(t, "?date=2020-01-01"); len(past) != 0 {
		t.Errorf("long ago there are still %d slots", len(past))
	}
	if far := s.slots(t, "?date="+time.Now().Add(db.MaxAhead+48*time.Hour).Format(time.DateOnly)); len(far) != 0 {
		t.Errorf("%d slots are offered that no order may ask for", len(far))
	}
}

// TestSlotNeverOversold sends 200 orders for the same 20 places, through one process and through two.
func TestSlotNeverOversold(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	processes := []*shop{s, openShopOn(t, s.databaseURL)}
	slots := s.limitSlots(t, 20)
	board := s.device(t, testStore)
	for n := 1; n <= 2; n++ {
		slot := slots[n]
		answers := together(t, 200, func(i int) answer { return processes[i%n].place(t, slot.pickup(time.Duration(i)*time.Minute)) })
		if got := countStatus(answers); got[202] != 20 || got[409] != 180 {
			t.Fatalf("%d processes: %v", n, got)
		}
		for _, a := range answers {
			if a.StatusCode == 409 {
				a.wantsSlotFull(t, slots[n+1], 20)
			}
		}
		if free := s.comingSlots(t)[n].Free; *free != 0 {
			t.Errorf("%d processes: %d places are still free", n, *free)
		}
		var page struct{ Orders []order }
		s.call(t, "GET", testOrdersPath+"?limit=200", board, nil).wants(t, 200).into(t, &page)
		if len(page.Orders) != 20*n {
			t.Errorf("%d processes: %d orders", n, len(page.Orders))
		}
	}
}

// TestEarliestSlot leaves the choice to the shop, which fills one slot after the other.
func TestEarliestSlot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	processes := []*shop{s, openShopOn(t, s.databaseURL)}
	slots := s.limitSlots(t, 3)
	taken := map[time.Time]int{}
	for _, a := range together(t, 10, func(i int) answer { return processes[i%2].place(t, latte(nil)) }) {
		o := a.wants(t, 202).order(t)
		at, err := time.Parse(time.RFC3339, *o.PickupAt)
		if err != nil || at.Before(time.Now().Add(-10*time.Second)) {
			t.Errorf("an order placed now is to be collected at %s (%v)", *o.PickupAt, err)
		}
		for _, slot := range slots {
			if !at.Before(slot.StartsAt) && at.Before(slot.EndsAt) {
				taken[slot.StartsAt]++
			}
		}
	}
	for i, want := range []int{3, 3, 3, 1} {
		if got := taken[slots[i].StartsAt]; got != want {
			t.Errorf("slot %d of %v has %d orders, want %d", i, taken, got, want)
		}
	}
	s.place(t, slots[0].pickup(4*time.Hour-time.Second)).wantsSlotFull(t, slots[3], 2)
	s.place(t, slots[2].pickup(0)).wantsSlotFull(t, slots[3], 2)
	s.place(t, slots[3].pickup(0)).wants(t, 202)
	s.place(t, slots[3].pickup(0)).wants(t, 202)
	s.place(t, slots[3].pickup(0)).wantsSlotFull(t, slots[4], 3)
	s.place(t, atCounter()).wants(t, 201)
	if o := s.place(t, latte(object{"expected_total": 1})); o.StatusCode != 409 {
		t.Error("that was not refused")
	}
	if free := s.comingSlots(t)[4].Free; *free != 2 {
		t.Errorf("after one more order %d of 3 places are free", *free)
	}
}

// TestEarliestSlotFarOff has more orders than there are slots in eight hours, through two processes: the first slots of
// the day fill up, and who asks for one of them is told of the first behind them.
func TestEarliestSlotFarOff(t *testing.T) {
	t.Parallel()
	const orders = 100
	s := openShop(t)
	processes := []*shop{s, openShopOn(t, s.databaseURL)}
	slots := s.cutSlots(t, 5, 1)
	taken := map[time.Time]int{}
	for _, a := range together(t, orders, func(i int) answer { return processes[i%2].place(t, atCounter()) }) {
		at, err := time.Parse(time.RFC3339, *a.wants(t, 201).order(t).PickupAt)
		if err != nil {
			t.Fatal(err)
		}
		taken[at.Truncate(5*time.Minute)]++
	}
	for i, slot := range slots[:orders] {
		if taken[slot.StartsAt] != 1 {
			t.Errorf("slot %d has %d orders, want 1", i, taken[slot.StartsAt])
		}
	}
	s.place(t, slots[3].pickup(0)).wantsSlotFull(t, slots[orders], 1)
}

// TestEarliestSlotOfTheWeek has one free slot in all the time that can be ordered ahead, at the very end. It is found,
// and after it is taken none is: not those of the time behind.
func TestEarliestSlotOfTheWeek(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	slots := s.cutSlots(t, 5, 1)
	week := slots[0].StartsAt.Add(7 * 24 * time.Hour)
	free := slot{StartsAt: week.Add(-10 * time.Minute), EndsAt: week.Add(-5 * time.Minute)}
	if _, err := s.api.pool.Exec(t.Context(), `
    insert into slots (store_id, starts_at, taken)
    select s.store_id, at, 1
    from stores s, generate_series($2::timestamptz, $3::timestamptz, '5 minutes') as at
    where s.slug = $1 and at <> $4`, testStore, slots[0].StartsAt, week.Add(5*time.Minute), free.StartsAt); err != nil {
		t.Fatal(err)
	}
	s.place(t, slots[1].pickup(0)).wantsSlotFull(t, free, 1)
	o := s.place(t, atCounter()).wants(t, 201).order(t)
	if at, err := time.Parse(time.RFC3339, *o.PickupAt); err != nil || !at.Equal(free.StartsAt) {
		t.Errorf("the order is to be collected at %s (%v), want %s", *o.PickupAt, err, free.StartsAt)
	}
	for _, body := range []object{slots[1].pickup(0), atCounter()} {
		full := s.place(t, body)
		full.wantsProblem(t, 409, "slot_full")
		if strings.Contains(string(full.body), "next_slot") {
			t.Errorf("there is no free slot within a week: %s", full.body)
		}
	}
}

// TestSlotGivenBack cancels the only order of a slot: its place is free again, once.
func TestSlotGivenBack(t *testing.T) {
	t.Parallel()
	s := openShop(t, "EXPIRE_AFTER=1s")
	slots := s.limitSlots(t, 1)
	board := s.device(t, testStore)
	for i, end := range []func(order){
		func(o order) { s.cancel(t, o).wants(t, 200); s.cancel(t, o).wants(t, 200) },
		func(o order) { s.do(t, board, "cancel", o, "applied", object{"reason": "out of milk"}) },
	} {
		slot := slots[i+1]
		o := s.placed(t, slot.pickup(0))
		s.place(t, slot.pickup(0)).wantsSlotFull(t, slots[i+2], 1)
		end(o)
		s.eventually(t, o, 15*time.Second, isRefunded)
		o = s.placed(t, slot.pickup(time.Hour))
		s.place(t, slot.pickup(0)).wantsSlotFull(t, slots[i+2], 1)
		// An order that was made keeps its place.
		s.do(t, board, "ready", o, "applied")
		s.do(t, board, "collect", o, "applied")
		s.place(t, slot.pickup(0)).wantsSlotFull(t, slots[i+2], 1)
	}
	failed := slots[3].pickup(0)
	failed["payment"] = object{"method": "card", "token": "tok_declined"}
	s.place(t, failed).wants(t, 202)
	s.place(t, slots[3].pickup(0)).wantsSlotFull(t, slots[4], 1)
	dbtest.Becomes(t, 15*time.Second, "the place of an expired order is free", func() bool { return *s.comingSlots(t)[3].Free == 1 })
	s.place(t, slots[3].pickup(0)).wants(t, 202)
}

// TestSlotBooks places and cancels at the same time, for chosen slots and for the earliest: in the end as
// many places are taken as there are orders to be made.
func TestSlotBooks(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	processes := []*shop{s, openShopOn(t, s.databaseURL)}
	slots := s.limitSlots(t, 10)
	together(t, 60, func(i int) answer {
		body := latte(nil)
		if i%2 == 0 {
			body = slots[i%3].pickup(3*time.Hour + 59*time.Minute)
		}
		a := processes[i%2].place(t, body)
		if a.StatusCode == 202 && i%5 < 3 {
			processes[(i+1)%2].cancel(t, a.order(t)).wants(t, 200)
		}
		return a
	})
	if n := s.count(t, `
    select count(*)
    from slots s
    where s.taken > 10 or s.taken <> (
        select count(*) from orders o
        where o.store_id = s.store_id and o.slot_starts_at = s.starts_at and o.status <> 'cancelled')`); n != 0 {
		t.Errorf("%d slots are not what their orders say", n)
	}
}
