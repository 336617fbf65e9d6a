package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tidwall/gjson"
)

const (
	quietPatience = 60 * time.Second // what the contract allows
	quietPause    = 500 * time.Millisecond
)

// nextTap is what the board does with an order when the shop closes.
var nextTap = map[string]string{"placed": "start", "in_progress": "ready", "ready": "collect"}

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

// clearBoards makes and hands over what guests have left behind.
func (c *chaos) clearBoards(ctx context.Context) {
	for _, store := range c.stores {
		type card struct{ id, tap string }
		var cards []card
		err := c.insist(ctx, func(conn *Conn) {
			conn.Request("GET", "/v1/stores/", store.Slug, "/board")
			conn.Header("Authorization", "Bearer ", store.Token)
			conn.NoBody()
		}, func(conn *Conn) error {
			if conn.Status() != 200 {
				return conn.refused("reading a board")
			}
			gjson.GetBytes(conn.Answer(), "orders").ForEach(func(_, o gjson.Result) bool {
				cards = append(cards, card{o.Get("id").String(), nextTap[o.Get("status").String()]})
				return true
			})
			return nil
		})
		for _, one := range cards {
			if err == nil && one.tap != "" {
				err = c.tap(ctx, store, one.tap, one.id)
			}
		}
		if err != nil && !errors.Is(err, errHome) {
			c.faults.Add(err)
		}
	}
}
