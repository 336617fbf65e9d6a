package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// These tests run in bubbles of synctest: after every step all goroutines have got as far as they can, so
// that nothing here depends on time.

// wish is a request of these tests; its answer is ten times n.
type wish struct{ key, n int }

// probe is a Group whose flushes go through when the test lets them.
type probe struct {
	*Group[int, wish, int]
	t       *testing.T
	ends    chan struct{}
	fault   func(group []wish) error // what a flush comes to; may be nil
	under   atomic.Int32             // flushes under way
	flushed [][]wish
	lasting error // of the context of a flush, when it ended
}

func newProbe(t *testing.T, max int) *probe {
	p := &probe{t: t, ends: make(chan struct{})}
	p.Group = NewGroup(GroupSize{Max: max}, func(w wish) int { return w.key }, p.flush)
	return p
}

func (p *probe) flush(ctx context.Context, group []wish) ([]Result[int], error) {
	if p.under.Add(1) > 1 {
		p.t.Error("two flushes at one time")
	}
	defer p.under.Add(-1)
	p.flushed = append(p.flushed, slices.Clone(group))
	<-p.ends
	p.lasting = errors.Join(p.lasting, ctx.Err())
	if p.fault != nil {
		if err := p.fault(group); err != nil {
			return nil, err
		}
	}
	results := make([]Result[int], len(group))
	for i, w := range group {
		results[i].Answer = 10 * w.n
	}
	return results, nil
}

// let lets so many flushes go through, one after the other.
func (p *probe) let(flushes int) {
	for range flushes {
		select {
		case p.ends <- struct{}{}:
			synctest.Wait()
		default:
			p.t.Error("no flush is under way")
		}
	}
}

// asked is a caller and what it got.
type asked struct {
	wish
	answer int
	err    error
	done   bool
	cancel context.CancelFunc
}

// ask sends a request and returns when it waits or has been answered.
func (p *probe) ask(key, n int) *asked {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asked{wish: wish{key, n}, cancel: cancel}
	go func() {
		defer cancel()
		a.answer, a.err = p.Do(ctx, a.wish)
		a.done = true
	}()
	synctest.Wait()
	return a
}

// give up makes the caller go away.
func (a *asked) giveUp() {
	a.cancel()
	synctest.Wait()
}

func (p *probe) wantsFlushed(groups ...string) {
	p.t.Helper()
	var got []string
	for _, group := range p.flushed {
		text := ""
		for _, w := range group {
			text += strconv.Itoa(w.n)
		}
		got = append(got, text)
	}
	if !slices.Equal(got, groups) {
		p.t.Errorf("flushed %q, want %q", got, groups)
	}
}

func (a *asked) wants(t *testing.T, want error) {
	t.Helper()
	switch {
	case !a.done:
		t.Errorf("%d still waits", a.n)
	case !errors.Is(a.err, want):
		t.Errorf("%d got %v, want %v", a.n, a.err, want)
	case want == nil && a.answer != 10*a.n:
		t.Errorf("%d got the answer %d", a.n, a.answer)
	}
}

var (
	errRefused  = &pgconn.PgError{Code: "23514"} // a CHECK
	errDeadlock = &pgconn.PgError{Code: "40P01"}
	errSerial   = &pgconn.PgError{Code: "40001"}
	errBroken   = errors.New("broken pipe")
)

// inBubble runs a test of a Group of at most max a flush, and sees it closed at the end.
func inBubble(t *testing.T, max int, test func(*testing.T, *probe)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t, max)
		func() {
			defer close(p.ends) // nothing is held after a test that failed
			test(t, p)
		}()
		if err := p.Close(t.Context()); err != nil || len(p.waiting) > 0 {
			t.Errorf("at the end %d wait: %v", len(p.waiting), err)
		}
	})
}

func TestGroupFlushesALoneRequestAtOnce(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		for n := range 3 {
			began := time.Now()
			a := p.ask(0, n)
			p.let(1)
			a.wants(t, nil)
			if took := time.Since(began); took != 0 {
				t.Errorf("waited %v", took)
			}
		}
		p.wantsFlushed("0", "1", "2")
	})
}

func TestGroupGathersDuringAFlush(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, p *probe) {
		var all []*asked
		for n := range 6 {
			all = append(all, p.ask(n, n))
		}
		p.wantsFlushed("0")
		p.let(1)
		all[0].wants(t, nil)
		p.wantsFlushed("0", "123") // the oldest, no more than three
		late := p.ask(6, 6)
		p.let(2)
		p.wantsFlushed("0", "123", "456")
		for _, a := range append(all, late) {
			a.wants(t, nil)
		}
	})
}

func TestGroupHoldsAKeyOnce(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		first := p.ask(0, 0)
		all := []*asked{first, p.ask(7, 1), p.ask(7, 2), p.ask(8, 3), p.ask(7, 4), p.ask(8, 5)}
		p.let(4)
		p.wantsFlushed("0", "13", "25", "4") // each key in the order of its requests
		for _, a := range all {
			a.wants(t, nil)
		}
	})
}

// TestGroupIsolatesAFault has one bad request among good ones: it alone fails, the others are written.
func TestGroupIsolatesAFault(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func() error{
		"a refused statement": func() error { return fmt.Errorf("insert: %w", errRefused) },
		"a panic":             func() error { panic("of this test") },
		"a broken connection": func() error { return errBroken }, // before its COMMIT, which undoes all of it
		"a lost race":         func() error { return ErrRace },
		"a deadlock":          func() error { return errDeadlock },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, func(t *testing.T, p *probe) {
				p.fault = func(group []wish) error {
					if slices.Contains(group, wish{2, 2}) {
						return bad()
					}
					return nil
				}
				all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2), p.ask(3, 3)}
				tries := 1
				if name == "a lost race" || name == "a deadlock" {
					tries = groupTries
				}
				p.let(1 + tries + 1 + tries + 1)
				groups := append([]string{"0"}, slices.Repeat([]string{"123"}, tries)...)
				groups = append(append(groups, "1"), slices.Repeat([]string{"2"}, tries)...)
				p.wantsFlushed(append(groups, "3")...)
				for _, n := range []int{0, 1, 3} {
					all[n].wants(t, nil)
				}
				if !all[2].done || all[2].err == nil {
					t.Errorf("the bad one got %d, %v", all[2].answer, all[2].err)
				}
				if name == "a lost race" {
					all[2].wants(t, ErrOverloaded) // not a fault of ours: it may come back
				}
			})
		})
	}
}

func TestGroupSaysThatItPanicked(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		p.fault = func([]wish) error { panic("of this test") }
		a := p.ask(0, 0)
		p.let(1)
		a.wants(t, errPanic)
		p.fault = nil
		again := p.ask(0, 1)
		p.let(1)
		again.wants(t, nil)
	})
}

func TestGroupTriesALostRaceAgain(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]error{"deadlock": errDeadlock, "serialization": errSerial, "another process": ErrRace} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, func(t *testing.T, p *probe) {
				all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2)}
				p.let(1)
				p.fault = func([]wish) error {
					if len(p.flushed) < 1+groupTries {
						return fmt.Errorf("locking: %w", lost)
					}
					return nil
				}
				p.let(groupTries)
				p.wantsFlushed(append([]string{"0"}, slices.Repeat([]string{"12"}, groupTries)...)...)
				for _, a := range all {
					a.wants(t, nil)
				}
			})
		})
	}
}

// TestGroupFailsTogether has failures that are nobody's own: alone it would go no better, and after a lost COMMIT it
// would be written twice.
func TestGroupFailsTogether(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"no connection": &pgconn.ConnectError{},
		"no time":       fmt.Errorf("insert: %w", context.DeadlineExceeded),
		"lost commit":   fmt.Errorf("%w: %w", ErrCommitUnknown, errBroken),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, func(t *testing.T, p *probe) {
				all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2)}
				p.let(1)
				p.fault = func([]wish) error { return fault }
				p.let(1)
				p.wantsFlushed("0", "12")
				all[1].wants(t, fault)
				all[2].wants(t, fault)
			})
		})
	}
}

func TestGroupAnswersEachOnItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := &Error{Code: CodeSlotFull}
		g := NewGroup(GroupSize{}, func(n int) int { return n }, func(_ context.Context, group []int) ([]Result[string], error) {
			results := make([]Result[string], len(group))
			for i, n := range group {
				if results[i].Answer = strconv.Itoa(n); n%2 == 1 {
					results[i] = Result[string]{Err: full}
				}
			}
			return results, nil
		})
		for n := range 20 {
			go func() {
				answer, err := g.Do(t.Context(), n)
				if odd := n%2 == 1; errors.Is(err, full) != odd || (!odd && (err != nil || answer != strconv.Itoa(n))) {
					t.Errorf("%d got %q, %v", n, answer, err)
				}
			}()
		}
		synctest.Wait()
	})
}

func TestGroupDropsAWaitingCallerThatWentAway(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2)}
		all[1].giveUp()
		all[1].wants(t, context.Canceled)
		p.let(2)
		p.wantsFlushed("0", "2")
		all[2].wants(t, nil)
		last := p.ask(3, 3)
		gone := p.ask(4, 4)
		gone.giveUp()
		p.let(1) // and nobody is left for another flush
		p.wantsFlushed("0", "2", "3")
		last.wants(t, nil)
	})
}

func TestGroupGoesOnWithoutACallerInAFlush(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *probe) {
		all := []*asked{p.ask(0, 0), p.ask(1, 1), p.ask(2, 2)}
		p.let(1)
		all[1].giveUp()
		all[1].wants(t, context.Canceled)
		p.let(1)
		p.wantsFlushed("0", "12")
		all[2].wants(t, nil)
		if p.lasting != nil {
			t.Errorf("the flush was cut off: %v", p.lasting)
		}
	})
}
