package db_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestCrowdAtTheCounter fills a counter with orders that cost nothing.
func TestCrowdAtTheCounter(t *testing.T) {
	t.Parallel()
	const most = 250
	w := openTill(t, dbtest.Database(t), 0)
	var all errgroup.Group
	var mu sync.Mutex
	var taken []*db.Order
	for i := range most + 70 {
		all.Go(func() error {
			placed, err := w.Place(t.Context(), w.latte(t, "counter", fmt.Sprint("key ", i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken = append(taken, placed.Order)
			} else if !isCode(err, db.CodeCounterFull) {
				return err
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil || len(taken) != most {
		t.Fatalf("%d orders were taken: %v", len(taken), err)
	}
	if _, err := w.Place(t.Context(), w.latte(t, "card", "paid")); err != nil {
		t.Errorf("an order by card: %v", err)
	}
	id := uuid.New()
	paid := &db.Command{ID: id, Type: "take_payment", Order: taken[0].ID, OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
	if changed, err := w.Command(t.Context(), w.store.ID, paid, w.view.Menu); err != nil || changed.Result.Result != "applied" {
		t.Fatal(changed.Result, err)
	}
	for _, full := range []bool{false, true} {
		if _, err := w.Place(t.Context(), w.latte(t, "counter", fmt.Sprint("next ", full))); isCode(err, db.CodeCounterFull) != full {
			t.Errorf("when one has paid: %v", err)
		}
	}
}
