package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestServerWithoutTheLastCommits has a standby take over that lacks the last change of an order: the hub must not answer from
// what the server before had.
func TestServerWithoutTheLastCommits(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	pool, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	w := openTill(t, pool, 0)
	w.runHub(t)
	placed, err := w.Place(t.Context(), w.latte(t, "counter", "key"))
	if err != nil {
		t.Fatal(err)
	}
	ref := placed.Order.Ref()
	if changed, err := w.do(t, "start", ref); err != nil || changed.Order.Version != 2 {
		t.Fatalf("started: %+v, %v", changed.Result, err)
	}
	board := w.hub.WatchBoard(w.store.ID)
	defer board.Close()
	listener := `select pid from pg_stat_activity where datname = current_database() and query = 'listen frenchpress_orders'`
	dbtest.Becomes(t, 10*time.Second, "a listener", func() bool {
		var pid int
		return pool.QueryRow(t.Context(), listener).Scan(&pid) == nil
	})
	for _, sql := range []string{
		`delete from order_history where version = 2`,
		`update orders set status = 'placed', version = 1`,
		`delete from commands`,
		`create function public.pg_walfile_name(pg_lsn) returns text language sql as $$ select '0000000F0000000000000001' $$`,
		`do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$`,
		`select pg_terminate_backend(pid) from (` + listener + `) as listener`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := board.Next(ctx); !errors.Is(err, db.ErrSlow) {
		t.Errorf("the board goes on with %v", err)
	}
	cancelled, err := w.Advance(t.Context(), ref, db.CancelByCustomer("customer", ""))
	if err != nil || cancelled.Version != 2 {
		t.Fatalf("cancelled: %+v, %v", cancelled, err)
	}
	if now, err := w.Current(t.Context(), ref); err != nil || now.Status != db.Cancelled {
		t.Errorf("the order is %s, %v", now.Status, err)
	}
}

// do is a command of a board.
func (w *till) do(t *testing.T, kind string, ref db.OrderRef) (db.Changed, error) {
	t.Helper()
	id := uuid.New()
	return w.Command(t.Context(), ref.StoreID, &db.Command{ID: id, Type: kind, Order: ref.ID, OccurredAt: time.Now(), Hash: id[:], By: "device:test"}, w.view.Menu)
}

// TestChangeThatNobodyHeardOf settles an order that another process has settled: whoever watches it here is told, as the board
// is of a commit whose answer was lost.
func TestChangeThatNobodyHeardOf(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	here, there := openTill(t, pool, 0), openTill(t, pool, 0) // whose hubs hear nothing of each other
	placed, err := here.Place(t.Context(), here.latte(t, "card", "key"))
	if err != nil {
		t.Fatal(err)
	}
	board := here.hub.WatchBoard(here.store.ID)
	defer board.Close()
	captured := db.Settle(db.Charged{Attempt: 1, Status: db.Captured, Ref: "pi_1"})
	for _, w := range []*till{there, here} {
		if _, err := w.Settle(t.Context(), placed.Order.Ref(), captured); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if seen, err := board.Next(ctx); err != nil || len(seen) != 1 || seen[0].Version != 2 {
		t.Errorf("the board has %v, %v", seen, err)
	}
}

// TestCatalogAfterASlowCommit sells something out by a commit that takes longer than the catalog looks back.
func TestCatalogAfterASlowCommit(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	catalog, err := db.OpenCatalog(t.Context(), w.pool)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = catalog.Run(ctx) }()
	for _, sql := range []string{
		`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(12); return null; end $$`,
		`create constraint trigger slow after insert on commands deferrable initially deferred for each row execute function slow()`,
	} {
		if _, err := w.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	id := uuid.New()
	sold := &db.Command{ID: id, Type: "sold_out", Item: "latte", OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
	if changed, err := w.Command(t.Context(), w.store.ID, sold, w.view.Menu); err != nil || changed.Result.Result != "applied" {
		t.Fatalf("%+v, %v", changed.Result, err)
	}
	dbtest.Becomes(t, 2*time.Second, "the latte is sold out", func() bool {
		store, _ := catalog.Store("ferry-building")
		view, err := catalog.View(t.Context(), store, time.Now())
		return err == nil && !view.Resolve().Item("latte").Available
	})
}
