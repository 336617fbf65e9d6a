package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	// payPatience is how long an order may wait for its money: what the contract allows for a provider that timed out.
	payPatience = 60 * time.Second
	// endPatience is how long a stream may go on after its order is finished.
	endPatience = 10 * time.Second
)

type lifecycleRun struct {
	Settings `embed:""`
	Clients  uint `help:"Instead of a rate: so many customers, the next one starting when one has his coffee. Finds the most that a target can do."`
}

// Run puts a constant rate of whole orders on the target, or as many as it can finish.
func (s *lifecycleRun) Run(ctx context.Context) error {
	return s.lifecycles(ctx, "lifecycle", s, func(l *Load) {
		s.drive(ctx, l, s.Clients, l.lifecycle)
	})
}

// lifecycles runs whole orders.
func (s *Settings) lifecycles(ctx context.Context, scenario string, settings any, run func(*Load)) error {
	if s.Method != byCard {
		return errors.New("only orders paid by card can be collected without a till")
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	l.browseAll()
	if err := l.priceAll(); err != nil {
		return err
	}
	run(l)
	r := l.report(scenario)
	if s.ReadBack {
		r.ReadBack = l.readBack("picked_up")
	}
	return s.finish(l, r, settings)
}

// visit is one order from the menu to the hand-over. Its states are read from its stream by the goroutine that also
// taps on the board: what arrives meanwhile waits in the socket.
type visit struct {
	load  *Load
	calls *Conn
	live  Live
	a     Arrival
	id    string
	total int64
	state State  // as last on the stream; its texts are gone with the next
	raw   []byte // the whole of it
	// version is the newest that a stream or an answer showed, shown the one on the stream. An answer may be ahead.
	version, shown int64
}

// lifecycle is an order's whole life without pauses.
func (l *Load) lifecycle(a Arrival) error {
	v := &visit{load: l, calls: l.Pool.Get(), a: a}
	defer func() { l.Pool.Put(v.calls) }()
	if err := v.order(); err != nil {
		return err
	}
	defer v.live.Close()
	for _, tap := range []Step{stepStart, stepReady, stepCollect} {
		if err := v.tap(tap); err != nil {
			return err
		}
	}
	return v.finish()
}

// order goes from the menu to an order that is paid and watched.
func (v *visit) order() error {
	l, begun := v.load, v.a.At
	if _, err := l.menuOn(v.calls, v.a.Store, true); err != nil {
		return err
	}
	begun = l.lap(stepMenu, begun)
	total, err := l.quoteOn(v.calls, v.a.Store, v.a.Basket)
	if err != nil {
		return err
	}
	v.total, begun = total, l.lap(stepQuote, begun)
	placed, err := l.placeOn(v.calls, v.a, total)
	if err != nil {
		return err
	}
	l.lap(stepPlace, begun)
	v.id = strings.Clone(placed.ID)
	if v.live, err = l.Open(l.Pool, v.a.Store, v.id, placed.Token); err != nil {
		return err
	}
	if err := v.until("placed", payPatience); err != nil {
		v.live.Close()
		return err
	}
	l.lap(stepPaid, begun)
	return nil
}

// lap records a step that began then and ends now, when the next one begins.
func (l *Load) lap(step Step, begun time.Time) time.Time {
	now := time.Now()
	l.Meter.Record(step, now.Sub(begun))
	return now
}

// until reads the stream up to a status.
func (v *visit) until(status string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		if err := v.next(time.Until(deadline)); err != nil {
			return err
		}
		if v.state.Status == status {
			return nil
		}
	}
}

// next reads one state from the stream and checks it.
func (v *visit) next(patience time.Duration) error {
	raw, err := v.live.Next(patience)
	if errors.Is(err, io.EOF) {
		return faultf("stream", "the stream of %s ended at version %d", v.id, v.shown)
	}
	if err != nil {
		return err
	}
	s, err := readState(raw)
	switch {
	case err != nil:
		return err
	case s.ID != v.id:
		return faultf("stream", "the stream of %s showed %s", v.id, s.ID)
	case s.Version <= v.shown:
		return faultf("version", "the stream of %s showed version %d after %d", v.id, s.Version, v.shown)
	}
	v.state, v.raw, v.shown, v.version = s, raw, s.Version, max(v.version, s.Version)
	return nil
}

// tap sends a command from the board.
func (v *visit) tap(step Step) error {
	begun := time.Now()
	v.load.command(v.calls, v.a.Store, step.String(), v.id)
	if err := v.calls.Do(); err != nil {
		return err
	}
	if err := v.applied(step); err != nil {
		return err
	}
	v.load.lap(step, begun)
	return nil
}

// finish reads the stream to its end, which must show an order that was handed over and paid once.
func (v *visit) finish() error {
	if v.state.Status != "picked_up" {
		if err := v.until("picked_up", requestTimeout); err != nil {
			return err
		}
	}
	v.load.Meter.Record(stepWhole, time.Since(v.a.At))
	o, err := readOrder(v.raw)
	if err != nil {
		return err
	}
	if o.Total != v.total {
		return faultf("total", "order %s: %d in the end, %d when placed", v.id, o.Total, v.total)
	}
	if err := o.paidOnce(v.a.Basket.Counter); err != nil {
		return err
	}
	_, err = v.live.Next(endPatience)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return faultf("stream", "the stream of %s goes on after the order is finished", v.id)
	}
	return err
}
