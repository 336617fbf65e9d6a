package db_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestPickupJustPast asks for a moment ago, which may lie in the slot before the one that the order gets.
func TestPickupJustPast(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	if _, err := w.pool.Exec(t.Context(), `update store_settings set slot_limit = 5`); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Microsecond)
	past := now.Add(-30 * time.Second)
	late := w.latte(t, "card", "key")
	late.Asked, late.Order.PickupAt = true, &past
	placed, err := w.Place(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := db.OrderByID(t.Context(), w.pool, placed.Order.Ref())
	if err != nil || stored.PickupAt.Before(now) || stored.PickupAt.Before(*stored.SlotStartsAt) {
		t.Fatalf("it is picked up at %v, in the slot from %v: %v", stored.PickupAt, stored.SlotStartsAt, err)
	}
	if placed.Order.PickupAt.Location() != time.UTC || !placed.Order.PickupAt.Equal(*stored.PickupAt) {
		t.Errorf("it was answered with %v, and is %v", placed.Order.PickupAt, stored.PickupAt)
	}
}

// TestSlotsOfNewHours has a store that opens half an hour later between an order's coming in and its write: its place is
// counted where the next order finds it.
func TestSlotsOfNewHours(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	catalog, err := db.OpenCatalog(t.Context(), w.pool)
	if err != nil {
		t.Fatal(err)
	}
	late := w.latte(t, "counter", "key")
	at := time.Now().AddDate(0, 0, 2).In(w.store.Location)
	at = time.Date(at.Year(), at.Month(), at.Day(), 12, 10, 0, 0, w.store.Location)
	late.Asked, late.Order.PickupAt = true, &at
	var halfPast db.Hours
	if err := json.Unmarshal([]byte(fmt.Sprintf(`[{"day": %q, "opens": "00:30", "closes": "24:00"}]`, strings.ToLower(at.Format("Mon")))), &halfPast); err != nil {
		t.Fatal(err)
	}
	if err := catalog.Patch(t.Context(), w.store, db.StorePatch{Hours: &halfPast, SlotMinutes: new(60), SlotLimit: new(new(1))}, "test"); err != nil {
		t.Fatal(err)
	}
	placed, err := w.Place(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	if from := placed.Order.SlotStartsAt.In(w.store.Location).Format("15:04"); from != "11:30" {
		t.Errorf("it is counted in the slot from %s", from)
	}
}
