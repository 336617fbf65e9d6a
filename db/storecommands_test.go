package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestSoldOutWhileTheMenuIsPut has an item sold out in the middle of a change of the store's menu, which holds the store's
// settings and goes on to what is available: one waits for the other, and neither for both.
func TestSoldOutWhileTheMenuIsPut(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	put, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = put.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = put.Exec(t.Context(), `select set_config('lock_timeout', '500ms', true) from store_settings where store_id = $1 for update`, w.store.ID)
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		id := uuid.New()
		sold := &db.Command{ID: id, Type: "sold_out", Item: "latte", OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
		changed, err := w.Command(t.Context(), w.store.ID, sold, w.view.Menu)
		if err == nil && changed.Result.Result != "applied" {
			err = fmt.Errorf("it is %+v", changed.Result)
		}
		said <- err
	}()
	dbtest.Becomes(t, 10*time.Second, "the command waits", func() (waits bool) {
		err := w.pool.QueryRow(t.Context(), `
    select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waits)
		return err == nil && waits
	})
	_, err = put.Exec(t.Context(), `
    insert into availability (store_id, kind, ref, available, decided_at) values ($1, 'item', 'latte', false, now())`, w.store.ID)
	if err := errors.Join(err, put.Commit(t.Context()), <-said); err != nil {
		t.Error(err)
	}
}
