package main

import (
	"sync"

	"github.com/google/uuid"
)

// maxAccepted bounds the orders that a run can account for.
const maxAccepted = 5_000_000

// Accepted is an order that the target promised: what it owes us.
type Accepted struct {
	ID    uuid.UUID
	Store int32
	Total int64
}

// Ledger keeps every accepted order. Safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	orders []Accepted
}

// Add notes an order. It fails when there is no place left.
func (l *Ledger) Add(store *Store, o *Order) error {
	id, err := uuid.Parse(o.ID)
	if err != nil {
		return faultf("answer", "order id %q: %w", o.ID, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.orders) >= maxAccepted {
		return faultf("generator", "more than %d orders", maxAccepted)
	}
	l.orders = append(l.orders, Accepted{id, store.Index, o.Total})
	return nil
}

// ByStore gives the accepted orders of each store.
func (l *Ledger) ByStore() map[int32]map[uuid.UUID]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	stores := map[int32]map[uuid.UUID]int64{}
	for _, o := range l.orders {
		if stores[o.Store] == nil {
			stores[o.Store] = map[uuid.UUID]int64{}
		}
		stores[o.Store][o.ID] = o.Total
	}
	return stores
}
