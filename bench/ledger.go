package main

import (
	"sync"

	"github.com/google/uuid"
)

// maxAccepted bounds the orders that a run can account for.
const maxAccepted = 5_000_000

// Accepted is an order that the target promised: what it owes us.
type Accepted struct {
	Store   int32
	Total   int64
	Counter bool // the customer wanted to pay there
}

// Ledger keeps every accepted order. Safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	orders map[uuid.UUID]Accepted
}

// Add notes an order. It fails when another customer has it already, or there is no place left.
func (l *Ledger) Add(store *Store, o *Order, counter bool) error {
	id, err := uuid.Parse(o.ID)
	if err != nil {
		return faultf("answer", "order id %q: %w", o.ID, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.orders) >= maxAccepted {
		return faultf("generator", "more than %d orders", maxAccepted)
	}
	if _, known := l.orders[id]; known {
		return faultf("twice", "order %s was given to two customers", id)
	}
	if l.orders == nil {
		l.orders = map[uuid.UUID]Accepted{}
	}
	l.orders[id] = Accepted{store.Index, o.Total, counter}
	return nil
}

// ByStore gives the accepted orders of each store that was asked for one.
func (l *Ledger) ByStore(stores []*Store) map[int32]map[uuid.UUID]Accepted {
	l.mu.Lock()
	defer l.mu.Unlock()
	accepted := map[int32]map[uuid.UUID]Accepted{}
	for _, store := range stores {
		if store.asked.Load() {
			accepted[store.Index] = map[uuid.UUID]Accepted{}
		}
	}
	for id, o := range l.orders {
		accepted[o.Store][id] = o
	}
	return accepted
}
