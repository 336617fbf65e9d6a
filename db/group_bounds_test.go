package db

import (
	"context"
	"errors"
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
