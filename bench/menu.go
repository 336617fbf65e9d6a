package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// browsers is how many fetch menus at once before a run.
const browsers = 8

type menuRun struct {
	Settings    `embed:""`
	Conditional float64 `help:"Share of the requests, 0 to 1, that come from a phone which has the menu (If-None-Match)."`
	Clients     uint    `help:"Instead of a rate: so many clients, each asking again as soon as it is answered. Finds the most that a target can do."`
}

// Run reads menus.
func (s *menuRun) Run(ctx context.Context) error {
	if !(s.Conditional >= 0 && s.Conditional <= 1) {
		return fmt.Errorf("conditional must be from 0 to 1")
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	l.browseAll()
	read := func(a Arrival) error {
		c := l.Pool.Get()
		defer func() { l.Pool.Put(c) }()
		return l.browse(c, a.Store, a.At, rand.Float64() < s.Conditional)
	}
	s.drive(ctx, l, s.Clients, read)
	return s.finish(l, l.report("menu"), s)
}

// browse reads a menu and times it, a whole one apart from one that had not changed.
func (l *Load) browse(c *Conn, store *Store, begun time.Time, conditional bool) error {
	full, err := l.menuOn(c, store, conditional)
	switch {
	case err != nil:
		return err
	case full:
		l.lap(stepMenu, begun)
	default:
		l.lap(stepSame, begun)
	}
	return nil
}

// menuOn reads a store's menu, with If-None-Match if it is known and that is wanted. It tells whether there was
// a body.
func (l *Load) menuOn(c *Conn, store *Store, conditional bool) (full bool, err error) {
	c.Request("GET", "/v1/stores/", store.Slug, "/menu")
	known := store.Menu.Load()
	conditional = conditional && known != nil
	if conditional {
		c.Header("If-None-Match", known.Tag)
	}
	c.NoBody()
	if err := c.Do(); err != nil {
		return false, err
	}
	tag, size := c.AnswerHeader("ETag"), len(c.Answer())
	switch status := c.Status(); {
	case status == 304 && conditional:
		return false, nil
	case status != 200:
		return false, c.refused("reading a menu")
	case size == 0 || len(tag) == 0:
		return false, faultf("answer", "a menu without content or without ETag")
	case known != nil && known.Tag == string(tag) && known.Size != size:
		return false, faultf("answer", "two menus of %s, one of %d bytes, one of %d, have one ETag", store.Slug, known.Size, size)
	case known == nil || known.Tag != string(tag):
		store.Menu.Store(&Menu{string(tag), size})
	}
	return true, nil
}

// browseAll reads each store's menu once, before the clock starts: a chain's customers come every day and have it.
func (l *Load) browseAll() {
	var next atomic.Int64
	var all sync.WaitGroup
	for range browsers {
		all.Go(func() {
			c := l.Pool.Get()
			defer l.Pool.Put(c)
			for i := next.Add(1) - 1; i < int64(len(l.Stores)); i = next.Add(1) - 1 {
				if _, err := l.menuOn(c, l.Stores[i], false); err != nil {
					l.Faults.Add(err)
					return
				}
			}
		})
	}
	all.Wait()
}
