package db_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// emptyDatabase opens several pools, as several processes do, on a database without anything of ours.
func emptyDatabase(t *testing.T, pools int) []*pgxpool.Pool {
	t.Helper()
	url := dbtest.URL(t)
	opened := make([]*pgxpool.Pool, pools)
	for i := range opened {
		var err error
		if opened[i], err = db.Open(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(opened[i].Close)
	}
	if _, err := opened[0].Exec(t.Context(), `drop schema public cascade; create schema public`); err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestTwoProcessesMigrateTogether(t *testing.T) {
	t.Parallel()
	pools := emptyDatabase(t, 2)
	var inside, ran atomic.Int32
	then := func(context.Context, *pgxpool.Pool) error {
		if inside.Add(1) > 1 {
			return errors.New("the other process is inside as well")
		}
		defer inside.Add(-1)
		time.Sleep(50 * time.Millisecond)
		ran.Add(1)
		return nil
	}
	g, ctx := errgroup.WithContext(t.Context())
	for _, pool := range pools {
		g.Go(func() error { return db.Migrate(ctx, pool, then) })
	}
	if err := g.Wait(); err != nil || ran.Load() != 2 {
		t.Fatalf("ran %d times: %v", ran.Load(), err)
	}
	var orders int
	if err := pools[0].QueryRow(t.Context(), `select count(*) from orders`).Scan(&orders); err != nil {
		t.Error(err)
	}
}

func TestMigrateRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	if _, err := pool.Exec(t.Context(), `insert into goose_db_version (version_id, is_applied) values (99999, true)`); err != nil {
		t.Fatal(err)
	}
	err := db.Migrate(t.Context(), pool, func(context.Context, *pgxpool.Pool) error {
		t.Error("went on")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "newer Frenchpress (schema 99999") {
		t.Errorf("got %v", err)
	}
}

func TestMigrateLetsGoAfterAFailure(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	broken := errors.New("broken")
	if err := db.Migrate(t.Context(), pool, func(context.Context, *pgxpool.Pool) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := db.Migrate(t.Context(), pool, noMore); err != nil {
		t.Error(err)
	}
}

// TestMigrateBesideALiveProcess takes the locks that changes, placings and jobs take, in their order, while the schema
// changes under them.
func TestMigrateBesideALiveProcess(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	database := stdlib.OpenDBFromPool(pool)
	defer database.Close()
	schema, err := goose.NewProvider(goose.DialectPostgres, database, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := schema.DownTo(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	var live errgroup.Group
	done, stop := context.WithCancel(t.Context())
	var worked atomic.Int32
	for _, locks := range [][]string{
		{"commands in access share", "orders in row exclusive", "order_history in row exclusive", "payments in row exclusive", "ledger in row exclusive", "commands in row exclusive"},
		{"orders in row exclusive", "order_history in row exclusive", "payments in row exclusive"},
		{"payments in row exclusive", "orders in access share"},
		{"notifications in row exclusive", "notification_log in row exclusive"},
	} {
		live.Go(func() error {
			for done.Err() == nil {
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					for _, lock := range locks {
						if _, err := tx.Exec(t.Context(), "lock table "+lock+" mode"); err != nil {
							return err
						}
						time.Sleep(time.Millisecond)
					}
					return nil
				})
				var lost *pgconn.PgError
				if err != nil && (!errors.As(err, &lost) || lost.Code != "40P01") {
					return err
				}
				worked.Add(1)
			}
			return nil
		})
	}
	time.Sleep(20 * time.Millisecond)
	err = db.Migrate(t.Context(), pool, func(context.Context, *pgxpool.Pool) error { return nil })
	stop()
	if failed := live.Wait(); err != nil || failed != nil || worked.Load() == 0 {
		t.Errorf("migrated: %v; %d transactions beside it: %v", err, worked.Load(), failed)
	}
}

// TestMigrateBesideAWriter has somebody hold what he wrote while a process starts that finds no partitions for the months
// to come: it goes without them, for now.
func TestMigrateBesideAWriter(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	last := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).AddDate(0, 2, 0).Format("_2006_01")
	for _, table := range []string{"payments", "refunds"} {
		if _, err := pool.Exec(t.Context(), "drop table "+table+last); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec(t.Context(), `lock orders in row exclusive mode`); err != nil {
		t.Fatal(err)
	}
	migrate := func() bool {
		if err := db.Migrate(t.Context(), pool, noMore); err != nil {
			t.Fatal(err)
		}
		return texts(t, pool, `select coalesce(to_regclass('payments' || $1)::text, '')`, last)[0] != ""
	}
	if migrate() {
		t.Error("nothing was in the way")
	}
	if err := writer.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !migrate() {
		t.Error("the partition is still not there")
	}
}
