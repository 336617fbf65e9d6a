package db

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroupBoundsAFlush(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		a := p.ask(0, 0)
		time.Sleep(flushTimeout + time.Second)
		p.let(1)
		a.wants(t, nil)
		if !errors.Is(p.lasting, context.DeadlineExceeded) {
			t.Errorf("the context of a flush that takes %v: %v", flushTimeout+time.Second, p.lasting)
		}
	})
}

// TestGroupFlights has groups of one, three of them under way at a time.
func TestGroupFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan struct{})
		var under atomic.Int32
		g := NewGroup(GroupSize{Max: 1, Flights: 3}, func(n int) int { return n }, func(_ context.Context, group []int) ([]Result[int], error) {
			under.Add(1)
			defer under.Add(-1)
			<-ends
			return []Result[int]{{Answer: group[0]}}, nil
		})
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				if answer, err := g.Do(t.Context(), n); answer != n || err != nil {
					t.Errorf("%d: %d, %v", n, answer, err)
				}
			})
		}
		for left := 10; left > 0; left-- {
			synctest.Wait()
			if want := min(left, 3); int(under.Load()) != want {
				t.Errorf("%d flushes under way with %d requests left, want %d", under.Load(), left, want)
			}
			ends <- struct{}{}
		}
		all.Wait()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestGroupPace has groups keep their pace, and give it up while repeats of a key wait: they take a flush each, and hold
// places that others need.
func TestGroupPace(t *testing.T) {
	t.Parallel()
	const pace = 30 * time.Millisecond
	for what, x := range map[string]struct {
		keys        func(asker, n int) int
		least, most time.Duration
	}{
		"distinct keys": {func(asker, n int) int { return 100*asker + n }, 10 * pace, 25 * pace},
		"two keys":      {func(asker, _ int) int { return asker % 2 }, 0, 10 * pace},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := NewGroup(GroupSize{Pace: pace}, func(key int) int { return key }, func(_ context.Context, group []int) ([]Result[int], error) {
				time.Sleep(time.Millisecond)
				return make([]Result[int], len(group)), nil
			})
			began := time.Now()
			var all sync.WaitGroup
			for asker := range 10 {
				all.Go(func() {
					for n := range 20 {
						if _, err := g.Do(t.Context(), x.keys(asker, n)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if took := time.Since(began); took < x.least || took > x.most {
				t.Errorf("200 requests with %s took %v", what, took)
			}
			if err := g.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGroupRefusesWhenTooManyWait(t *testing.T) {
	inBubble(t, groupWaiting, func(t *testing.T, p *probe) {
		first := p.ask(-1, -1)
		waiting := make([]*asked, groupWaiting)
		for n := range waiting {
			waiting[n] = &asked{wish: wish{n, n}}
			go func() {
				waiting[n].answer, waiting[n].err = p.Do(t.Context(), waiting[n].wish)
				waiting[n].done = true
			}()
		}
		synctest.Wait()
		refused := p.ask(-2, -2)
		refused.wants(t, ErrOverloaded)
		p.let(1)
		first.wants(t, nil)
		accepted := p.ask(-3, -3)
		p.let(2)
		accepted.wants(t, nil)
		for _, a := range waiting {
			a.wants(t, nil)
		}
		if len(p.flushed) != 3 {
			t.Errorf("%d flushes", len(p.flushed))
		}
	})
}

func TestGroupClosesWhenAllAreAnswered(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, p *probe) {
		all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2)}
		var closed atomic.Bool
		go func() {
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
			closed.Store(true)
		}()
		synctest.Wait()
		p.ask(3, 3).wants(t, ErrStopping)
		for range all {
			if closed.Load() {
				t.Error("closed before all were answered")
			}
			p.let(1)
		}
		if !closed.Load() {
			t.Error("does not close")
		}
		for _, a := range all {
			a.wants(t, nil)
		}
		p.ask(4, 4).wants(t, ErrStopping)
	})
}

func TestGroupClosesNoLaterThanAsked(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		a := p.ask(0, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		p.let(1)
		a.wants(t, nil)
	})
}
