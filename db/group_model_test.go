package db

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// groupStep is one thing that happens to a Group: a request, a caller that goes away, or the end of a flush.
type groupStep struct {
	do       string
	key, who int
	bad      bool
}

// groupModel is what a Group ought to do, without any concurrency.
type groupModel struct {
	max     int
	all     []*modelCall
	waiting []*modelCall
	flights [][]*modelCall // the flush under way, then those of its requests that follow one by one
	flushed [][]wish
}

type modelCall struct {
	wish
	bad     bool
	settled bool
	want    error
}

func (m *groupModel) ask(key int, bad bool) *modelCall {
	call := &modelCall{wish: wish{key, len(m.all)}, bad: bad}
	m.all, m.waiting = append(m.all, call), append(m.waiting, call)
	m.fly()
	return call
}

func (m *groupModel) giveUp(call *modelCall) {
	if !call.settled {
		call.settled, call.want = true, context.Canceled
		m.waiting = slices.DeleteFunc(m.waiting, func(c *modelCall) bool { return c == call })
	}
}

// fly begins the next flush if none is under way.
func (m *groupModel) fly() {
	if len(m.flights) == 0 && len(m.waiting) > 0 {
		var group, left []*modelCall
		for _, call := range m.waiting {
			if len(group) < m.max && !slices.ContainsFunc(group, func(c *modelCall) bool { return c.key == call.key }) {
				group = append(group, call)
			} else {
				left = append(left, call)
			}
		}
		m.waiting, m.flights = left, [][]*modelCall{group}
		m.begin()
	}
}

func (m *groupModel) begin() {
	var group []wish
	for _, call := range m.flights[0] {
		group = append(group, call.wish)
	}
	m.flushed = append(m.flushed, group)
}

// land ends the flush under way; it answers whether there was one. settled are the calls it answers, which
// happens when the whole group is done.
func (m *groupModel) land(settled *[]*modelCall) bool {
	if len(m.flights) == 0 {
		return false
	}
	group := m.flights[0]
	m.flights = m.flights[1:]
	if bad := slices.ContainsFunc(group, func(c *modelCall) bool { return c.bad }); bad && len(group) > 1 {
		for _, call := range group {
			m.flights = append(m.flights, []*modelCall{call})
		}
	} else {
		*settled = append(*settled, group...)
	}
	if len(m.flights) > 0 {
		m.begin()
		return true
	}
	for _, call := range *settled {
		if !call.settled && call.bad {
			call.want = errRefused
		}
		call.settled = true
	}
	*settled = nil
	m.fly()
	return true
}

// play runs the steps through a Group and the model, and says where they differ.
func play(t *testing.T, max int, steps []groupStep) error {
	p, m := newProbe(t, max), &groupModel{max: max}
	bad := map[int]bool{}
	p.fault = func(group []wish) error {
		if slices.ContainsFunc(group, func(w wish) bool { return bad[w.n] }) {
			return errRefused
		}
		return nil
	}
	var all []*asked
	var landing []*modelCall
	for _, step := range steps {
		switch {
		case step.do == "ask":
			bad[len(all)] = step.bad
			m.ask(step.key, step.bad)
			all = append(all, p.ask(step.key, len(all)))
		case step.do == "give up" && len(all) > 0:
			m.giveUp(m.all[step.who%len(all)])
			all[step.who%len(all)].giveUp()
		case step.do == "land":
			if m.land(&landing) {
				p.let(1)
			}
		}
	}
	for m.land(&landing) {
		p.let(1)
	}
	if !reflect.DeepEqual(p.flushed, m.flushed) {
		return fmt.Errorf("flushed %v, want %v", p.flushed, m.flushed)
	}
	for i, a := range all {
		if want := m.all[i].want; !a.done || !errors.Is(a.err, want) || (want == nil && a.answer != 10*a.n) {
			return fmt.Errorf("request %d: done %v, answer %d, %w; want %w", i, a.done, a.answer, a.err, want)
		}
	}
	return p.Close(context.Background())
}

// TestGroupLikeItsModel does anything in any order.
func TestGroupLikeItsModel(t *testing.T) {
	t.Parallel()
	step := rapid.Custom(func(t *rapid.T) groupStep {
		return groupStep{
			do:  rapid.SampledFrom([]string{"ask", "ask", "ask", "land", "give up"}).Draw(t, "do"),
			key: rapid.IntRange(0, 4).Draw(t, "key"), who: rapid.IntRange(0, 30).Draw(t, "who"),
			bad: rapid.IntRange(0, 5).Draw(t, "bad") == 0,
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		max := rapid.IntRange(1, 4).Draw(rt, "max")
		steps := rapid.SliceOfN(step, 1, 40).Draw(rt, "steps")
		var fault error
		synctest.Test(t, func(t *testing.T) { fault = play(t, max, steps) })
		if fault != nil {
			rt.Fatal(fault)
		}
	})
}

// BenchmarkGroup is what gathering costs, with a flush as long as a short transaction.
func BenchmarkGroup(b *testing.B) {
	var flushes atomic.Int64
	var key atomic.Int64
	g := NewGroup(GroupSize{}, func(n int64) int64 { return n }, func(_ context.Context, group []int64) ([]Result[int64], error) {
		flushes.Add(1)
		time.Sleep(200 * time.Microsecond)
		return make([]Result[int64], len(group)), nil
	})
	b.SetParallelism(256)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.Do(context.Background(), key.Add(1)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(max(1, flushes.Load())), "requests/flush")
}
