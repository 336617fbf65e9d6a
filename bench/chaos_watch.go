package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// silence is how long a stream may say nothing but heartbeats, which do not count here, before a client opens
	// another one: a phone does the same.
	silence = 8 * time.Second
	// watchersMost bounds the streams open at a time.
	watchersMost = 3000
)

// watched is what a client saw of an order.
type watched struct {
	Order   string
	Version int64 // newest shown
	Status  string
	Back    string // how it went back, if it did
	Ended   bool   // by the shop
}

// watch is a client's screen for one order. It stays until the shop ends the stream, over as many connections as that
// takes.
type watch struct {
	c     *chaos
	store *Store
	token string

	mu   sync.Mutex
	seen watched
	news chan struct{} // closed and made anew with each change
}

var finished = []string{"picked_up", "cancelled", "expired", "abandoned"}

// open opens a screen; the chaos waits for all of them in the end.
func (c *chaos) open(g *guest) *watch {
	w := &watch{c: c, store: g.store, token: g.token, seen: watched{Order: g.id}, news: make(chan struct{})}
	c.screens <- struct{}{}
	c.mu.Lock()
	c.watches = append(c.watches, w)
	c.mu.Unlock()
	c.watchers.Go(func() {
		defer func() { <-c.screens }()
		w.run(c.watching)
	})
	return w
}

// run reads streams until one ends as it should or the context does.
func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		if w.stream(ctx) {
			w.mu.Lock()
			w.seen.Ended = true
			w.mu.Unlock()
			return
		}
		w.c.reconnects.Add(1)
		if pause(ctx, insistPause) != nil {
			return
		}
	}
}

// stream reads one stream and tells whether the shop ended it. A connection that breaks off has not ended, also when
// that looks like the end of a file: while it was being opened.
func (w *watch) stream(ctx context.Context) (ended bool) {
	live, err := openEvents(w.c.pool(), w.store, w.seen.Order, w.token)
	if err != nil {
		w.refused(err)
		return false
	}
	defer live.Close()
	for last := int64(0); ctx.Err() == nil; {
		raw, err := live.Next(silence)
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		s, err := readState(raw)
		if err != nil {
			w.c.faults.Add(err)
			return false
		}
		w.show(s, last)
		last = s.Version
	}
	return false
}

// refused takes note of a refusal that is none for later: the token is good and the order is there.
func (w *watch) refused(err error) {
	if refusal := new(Refusal); errors.As(err, &refusal) && refusal.Status != 503 && refusal.Status != 429 {
		w.c.faults.Add(err)
	}
}

// show notes a state. On one connection versions grow; a new connection may begin with the one shown before, never
// with an older one.
func (w *watch) show(s State, last int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.ID != w.seen.Order:
		w.seen.Back = "another order was shown: " + strings.Clone(s.ID)
	case s.Version <= last || s.Version < w.seen.Version:
		w.seen.Back = "version " + text64(float64(s.Version)) + " after " + text64(float64(max(last, w.seen.Version)))
	}
	w.seen.Version, w.seen.Status = s.Version, strings.Clone(s.Status)
	close(w.news)
	w.news = make(chan struct{})
}

// await waits until the screen shows one of these or the end of the order.
func (w *watch) await(ctx context.Context, wanted []string) (status string, ok bool) {
	for {
		w.mu.Lock()
		status, news := w.seen.Status, w.news
		w.mu.Unlock()
		if slices.Contains(wanted, status) || slices.Contains(finished, status) {
			return status, true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return "", false
		}
	}
}

func (w *watch) record() watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}
