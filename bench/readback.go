package main

import (
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
)

const (
	readers = 16 // stores read at once
	// settlePatience is how long accepted orders may take to settle after the load has ended.
	settlePatience = 60 * time.Second
	settlePause    = 500 * time.Millisecond
	// clockSkew is how far the target's clock may be from ours.
	clockSkew = time.Minute
	maxPages  = 10_000 // of one store's history
)

// ReadBack is what the target's own history says of the orders it accepted.
type ReadBack struct {
	Orders  int     `json:"orders"`
	Stores  int     `json:"stores"`
	Seconds float64 `json:"seconds"` // until all had settled and were read
}

// readBack reads the history of every store that was asked for an order: each that it accepted must be there, have the
// status wanted, the total promised, and be paid once; and there must be no other order of this run.
func (l *Load) readBack(want string) *ReadBack {
	begun, stores := time.Now(), l.Ledger.ByStore(l.Stores)
	result := &ReadBack{Stores: len(stores)}
	for _, orders := range stores {
		result.Orders += len(orders)
	}
	for deadline := begun.Add(settlePatience); ; time.Sleep(settlePause) {
		last := time.Now().After(deadline)
		if stores = l.readHistories(stores, want, last); len(stores) == 0 || last {
			break
		}
	}
	result.Seconds = time.Since(begun).Seconds()
	return result
}

// readHistories reads some stores and gives those where something is not settled. In the last round that is a fault.
func (l *Load) readHistories(stores map[int32]map[uuid.UUID]Accepted, want string, last bool) map[int32]map[uuid.UUID]Accepted {
	var mu sync.Mutex
	unsettled := map[int32]map[uuid.UUID]Accepted{}
	places := make(chan struct{}, readers)
	var all sync.WaitGroup
	for index, orders := range stores {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			h := &history{load: l, store: l.Stores[index], promised: orders, want: want, last: last, seen: map[uuid.UUID]bool{}}
			settled, err := h.read()
			l.Faults.Add(err)
			if err == nil && !settled {
				mu.Lock()
				defer mu.Unlock()
				unsettled[index] = orders
			}
		})
	}
	all.Wait()
	return unsettled
}

// history is one store's, read newest first.
type history struct {
	load     *Load
	store    *Store
	promised map[uuid.UUID]Accepted
	want     string
	last     bool
	seen     map[uuid.UUID]bool
	pending  int
	faults   []error
}

// read reads all pages. Nothing is held against a store of which not everything has settled yet, except in the
// last round.
func (h *history) read() (settled bool, err error) {
	c := h.load.Pool.Get()
	defer func() { h.load.Pool.Put(c) }()
	cursor := ""
	for range maxPages {
		if cursor, err = h.page(c, cursor); err != nil {
			return false, err
		}
		if cursor == "" {
			break
		}
	}
	if h.pending > 0 && !h.last {
		return false, nil
	}
	for id := range h.promised {
		if !h.seen[id] {
			h.faults = append(h.faults, faultf("lost", "order %s was accepted, but %s does not have it", id, h.store.Slug))
		}
	}
	for _, fault := range h.faults {
		h.load.Faults.Add(fault)
	}
	return true, nil
}

func (h *history) page(c *Conn, cursor string) (next string, err error) {
	from := h.load.Began.Add(-clockSkew).UTC().Format(time.RFC3339)
	c.Request("GET", "/v1/stores/", h.store.Slug, "/orders?limit=200&from=", from)
	if cursor != "" {
		c.Request("GET", "/v1/stores/", h.store.Slug, "/orders?limit=200&from=", from, "&cursor=", url.QueryEscape(cursor))
	}
	c.Header("Authorization", "Bearer ", h.store.Token)
	c.NoBody()
	if err := c.Do(); err != nil {
		return "", err
	}
	if c.Status() != 200 {
		return "", c.refused("reading the history of " + h.store.Slug)
	}
	page := gjson.Parse(text(c.Answer()))
	page.Get("orders").ForEach(func(_, one gjson.Result) bool {
		var o Order
		if o, err = readOrder(bytesOf(one.Raw)); err == nil {
			err = h.check(&o)
		}
		return err == nil
	})
	return strings.Clone(page.Get("next_cursor").Str), err
}

// check looks at one order of the history.
func (h *history) check(o *Order) error {
	id, err := uuid.Parse(o.ID)
	if err != nil {
		return faultf("answer", "order id %q: %w", o.ID, err)
	}
	accepted, ours := h.promised[id]
	switch {
	case !ours && strings.HasSuffix(o.Customer, " "+h.load.Mark):
		h.fault("unknown", "order %s of %s is one of ours, but was never confirmed to us", o.ID, h.store.Slug)
	case !ours:
	case h.seen[id]:
		h.fault("twice", "order %s is twice in the history", o.ID)
	case o.Status == "payment_pending" && !h.last:
		h.pending++
	case o.Status != h.want:
		h.fault("unfinished", "order %s is %s, not %s", o.ID, o.Status, h.want)
	case o.Total != accepted.Total:
		h.fault("total", "order %s: %d in the history, %d when placed", o.ID, o.Total, accepted.Total)
	default:
		if err := o.paidOnce(accepted.Counter); err != nil {
			h.faults = append(h.faults, err)
		}
	}
	h.seen[id] = h.seen[id] || ours
	return nil
}

func (h *history) fault(kind, format string, values ...any) {
	h.faults = append(h.faults, faultf(kind, format, values...))
}
