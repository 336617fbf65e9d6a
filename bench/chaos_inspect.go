package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tidwall/gjson"
)

const (
	quietPatience = 60 * time.Second // what the contract allows
	quietPause    = 500 * time.Millisecond

	handsMost = 32 // that make orders at a time when the shop closes
)

// tapsLeft are what a board has yet to do with an order.
var tapsLeft = map[string][]string{
	"placed":      {"start", "ready", "collect"},
	"in_progress": {"ready", "collect"},
	"ready":       {"collect"},
}

// inspect waits until nothing is unfinished, for so long as that may take, and then checks everything.
func (c *chaos) inspect(ctx context.Context) error {
	begun := c.lastFault
	if begun.IsZero() {
		begun = time.Now()
	}
	quiet, last := false, ""
	patience, cancel := context.WithDeadline(ctx, begun.Add(quietPatience))
	defer cancel()
	for patience.Err() == nil && !quiet {
		c.clearBoards(patience)
		var left string
		if left, quiet = c.quiet(patience); !quiet {
			last = left
		}
		if err := pause(ctx, quietPause); err != nil {
			return err
		}
	}
	took := time.Since(begun)
	r, err := c.readRecords(ctx)
	if err != nil {
		return err
	}
	if !quiet && len(r.Unfinished) == 0 { // it has ended while the rest was read
		r.Unfinished = []string{"when the time was over: " + last}
	}
	c.result.note(r, chaosRound{Processes: len(c.counters), Faults: c.result.broken(), Settled: took.Seconds(), Last: last, Orders: len(r.Orders)})
	fmt.Fprintf(c.progress, "%6.1f s  quiet %.1f s after the last fault: %t; %d violations; at last: %s\n",
		time.Since(c.begun).Seconds(), took.Seconds(), quiet, c.result.violations(), last)
	return nil
}

// quiet tells whether nothing is unfinished and all screens have seen their order's end, or names something that is.
func (c *chaos) quiet(ctx context.Context) (what string, quiet bool) {
	var left []string
	err := c.postgres.ask(ctx, askPatience, func(ctx context.Context, conn *pgx.Conn) (err error) {
		left, err = unfinished(ctx, conn)
		return err
	})
	switch screens := len(c.screens); {
	case err != nil:
		return err.Error(), false
	case len(left) > 0:
		return left[0], false
	case screens > 0:
		return fmt.Sprintf("%d screens are open", screens), false
	}
	return "", true
}

// clearBoards makes and hands over what guests have left behind, many orders at a time: one by one it would take a busy
// machine longer than the shop has.
func (c *chaos) clearBoards(ctx context.Context) {
	var hands sync.WaitGroup
	places := make(chan struct{}, handsMost)
	for _, store := range c.stores {
		left, err := c.board(ctx, store)
		c.blame(err)
		for order, taps := range left {
			places <- struct{}{}
			hands.Go(func() {
				defer func() { <-places }()
				var err error
				for _, tap := range taps {
					if err == nil {
						err = c.tap(ctx, store, tap, order)
					}
				}
				c.blame(err)
			})
		}
	}
	hands.Wait()
}

// board gives the orders of a store's board, and what is left to be done with each.
func (c *chaos) board(ctx context.Context, store *Store) (map[string][]string, error) {
	left := map[string][]string{}
	err := c.insist(ctx, func(conn *Conn) {
		conn.Request("GET", "/v1/stores/", store.Slug, "/board")
		conn.Header("Authorization", "Bearer ", store.Token)
		conn.NoBody()
	}, func(conn *Conn) error {
		if conn.Status() != 200 {
			return conn.refused("reading a board")
		}
		gjson.GetBytes(conn.Answer(), "orders").ForEach(func(_, o gjson.Result) bool {
			left[strings.Clone(o.Get("id").Str)] = tapsLeft[o.Get("status").Str]
			return true
		})
		return nil
	})
	return left, err
}

// blame keeps what a guest or a barista has to say against the shop; one who went home says nothing.
func (c *chaos) blame(err error) {
	if err != nil && !errors.Is(err, errHome) {
		c.faults.Add(err)
	}
}
