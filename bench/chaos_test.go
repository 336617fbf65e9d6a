package main

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// honest are records in which everything holds: an order that was handed over, one whose money went back, and one
// that was never paid.
func honest() *records {
	r := &records{
		Acks: []ack{
			{"a", "s", 500, 1, "payment_pending", "place"}, {"b", "s", 700, 1, "payment_pending", "place"},
			{"c", "s", 300, 1, "payment_pending", "place"}, {"a", "s", 500, 5, "picked_up", "collect"}, {"b", "s", 700, 3, "cancelled", "cancel"},
		},
		Screens: []watched{{"a", 5, "picked_up", "", true}, {"b", 4, "cancelled", "", true}, {"c", 3, "expired", "", true}},
		Moved:   []movement{{"a", false, 500}, {"b", false, 700}, {"b", true, 700}},
		Orders: []bookedOrder{
			{"a", "picked_up", "captured", 5, 500, 500, 0}, {"b", "cancelled", "refunded", 4, 700, 700, 700}, {"c", "expired", "void", 3, 300, 0, 0},
		},
		Messages: []sentMessage{{"a", "order_confirmed", "email", 1}, {"a", "order_ready", "email", 1}},
	}
	for order, statuses := range map[string]string{
		"a": "payment_pending placed in_progress ready picked_up", "b": "payment_pending placed cancelled cancelled", "c": "payment_pending payment_failed expired",
	} {
		for i, status := range strings.Fields(statuses) {
			r.Steps = append(r.Steps, bookedStep{order, int64(i + 1), status})
		}
	}
	return r
}

// breaks are what each check must find, by a part of what it then says.
var breaks = []struct {
	check, says string
	with        func(*records)
}{
	{"every acknowledged order is there with that total", "is not there", func(r *records) { r.Orders = r.Orders[1:] }},
	{"every acknowledged order is there with that total", "total of 500 and has 499", func(r *records) { r.Orders[0].Total = 499 }},
	{"every acknowledged state is in the order's history", `has "" there`, func(r *records) { r.Acks[3].Version = 9 }},
	{"every acknowledged state is in the order's history", `has "cancelled" there`, func(r *records) { r.Acks[4].Status = "placed" }},
	{"one key makes at most one order", "several orders came of the key in k@example.com", func(r *records) { r.Twice = []string{"k@example.com"} }},
	{"one key makes at most one order", "answers two keys", func(r *records) { r.Acks = append(r.Acks, r.Acks[0]) }},
	{"at most one capture per order", "more than once", func(r *records) { r.Moved = append(r.Moved, r.Moved[0]) }},
	{"captures less refunds are what the shop has recorded, and the total or nothing", "the books differ", func(r *records) { r.Moved = r.Moved[1:] }},
	{"captures less refunds are what the shop has recorded, and the total or nothing", "which is not there", func(r *records) { r.Moved[0].Order = "x" }},
	{"captures less refunds are what the shop has recorded, and the total or nothing", "neither the total nor nothing", func(r *records) {
		r.Moved[0].Amount, r.Orders[0].Captured = 400, 400
	}},
	{"captures less refunds are what the shop has recorded, and the total or nothing", "money was kept", func(r *records) {
		r.Moved, r.Orders[1].Refunded = r.Moved[:2], 0
	}},
	{"captures less refunds are what the shop has recorded, and the total or nothing", "but not paid", func(r *records) {
		r.Moved, r.Orders[0].Captured = r.Moved[1:], 0
	}},
	{"nothing is unfinished 60 s after the last fault", "order x: placed", func(r *records) { r.Unfinished = []string{"order x: placed"} }},
	{"versions have no gap and every transition is legal", "follows", func(r *records) {
		r.Steps = slices.DeleteFunc(r.Steps, func(s bookedStep) bool { return s == bookedStep{"a", 3, "in_progress"} })
	}},
	{"versions have no gap and every transition is legal", `from "cancelled" to placed`, func(r *records) {
		r.Steps[slices.Index(r.Steps, bookedStep{"b", 4, "cancelled"})].Status = "placed"
	}},
	{"versions have no gap and every transition is legal", "its history ends with", func(r *records) { r.Orders[2].Version = 4 }},
	{"every live client has converged and never went back", "went back: version 2 after 3", func(r *records) { r.Screens[0].Back = "version 2 after 3" }},
	{"every live client has converged and never went back", `shows "ready" at version 4`, func(r *records) { r.Screens[0].Version, r.Screens[0].Status = 4, "ready" }},
	{"every live client has converged and never went back", "did not end", func(r *records) { r.Screens[2].Ended = false }},
	{"one notification for each subject, kind and channel", "sent 2 times by email", func(r *records) { r.Messages[1].Times = 2 }},
	{"no poison job keeps a worker", "job 7", func(r *records) { r.Poison = []string{"job 7 runs"} }},
	{"the shop finds no difference to the provider's books", "amount_differs", func(r *records) { r.Differences = []string{`{"kind": "amount_differs"}`} }},
	{"the ledger sums to zero", "sums to -5", func(r *records) { r.Ledger = -5 }},
}

func TestChaosChecksFind(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, b := range breaks {
		r := honest()
		b.with(r)
		at := slices.IndexFunc(chaosChecks, func(c chaosCheck) bool { return c.name == b.check })
		if at < 0 {
			t.Fatalf("there is no check %q", b.check)
		}
		if said := strings.Join(chaosChecks[at].run(r), "; "); !strings.Contains(said, b.says) {
			t.Errorf("%s says %q, not %q", b.check, said, b.says)
		}
		found[b.check] = true
	}
	for _, check := range chaosChecks {
		if said := check.run(honest()); said != nil {
			t.Errorf("%s is not content with what is right: %q", check.name, said)
		}
		if !found[check.name] {
			t.Errorf("nothing here breaks %q", check.name)
		}
	}
}

// A screen that is shown an older state than before keeps that in mind, over connections too.
func TestScreenGoesBack(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]struct {
		versions, last []int64
		back           bool
	}{
		"grows":                         {[]int64{1, 2, 5}, []int64{0, 1, 2}, false},
		"the same on a new connection":  {[]int64{1, 2, 2, 3}, []int64{0, 1, 0, 2}, false},
		"repeated":                      {[]int64{1, 2, 2}, []int64{0, 1, 2}, true},
		"reversed":                      {[]int64{1, 3, 2}, []int64{0, 1, 3}, true},
		"reversed on a new connection":  {[]int64{1, 3, 2, 4}, []int64{0, 1, 0, 2}, true},
		"older on each new connection":  {[]int64{3, 2, 1}, []int64{0, 0, 0}, true},
		"a repetition after a new view": {[]int64{3, 3, 3}, []int64{0, 0, 3}, true},
	} {
		w := &watch{seen: watched{Order: "a"}, news: make(chan struct{})}
		for i, version := range shown.versions {
			w.show(State{"a", "placed", version}, shown.last[i])
		}
		if back := w.record().Back != ""; back != shown.back {
			t.Errorf("%s: went back %t", name, back)
		}
	}
}

func TestAcksAreReadFromTheirFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acks")
	a, err := openAcks(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.file.Close()
	o := &Order{State: State{ID: "a", Status: "placed", Version: 2}, Total: 500}
	for range 2 {
		if err := a.keep("place", &Store{Slug: "s"}, o); err != nil {
			t.Fatal(err)
		}
	}
	read, err := readAcks(path)
	want := ack{"a", "s", 500, 2, "placed", "place"}
	if err != nil || !slices.Equal(read, []ack{want, want}) {
		t.Errorf("%v, %v", read, err)
	}
}

// Every fault has its place in one of the plans, as often as it should, and one seed makes one plan.
func TestChaosPlan(t *testing.T) {
	t.Parallel()
	for _, short := range []bool{false, true} {
		run := &chaosRun{Share: 1, Short: short}
		times := map[string]int{}
		for processes := 1; processes <= 2; processes++ {
			for _, fault := range run.plan(processes, seeded(7)) {
				times[fault.name]++
			}
		}
		for _, fault := range chaosFaults {
			want := fault.long
			if short {
				want = fault.short
			}
			if times[fault.name] != want {
				t.Errorf("short %t: %s %d times, not %d", short, fault.name, times[fault.name], want)
			}
		}
		names := func() (all []string) {
			for _, fault := range run.plan(2, seeded(9)) {
				all = append(all, fault.name)
			}
			return all
		}
		if !slices.Equal(names(), names()) {
			t.Error("one seed makes two plans")
		}
	}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
