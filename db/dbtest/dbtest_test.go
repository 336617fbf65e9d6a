package dbtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m, func(ctx context.Context, pool *pgxpool.Pool) error {
		_, err := pool.Exec(ctx, `create table cup (id int primary key)`)
		return err
	})
}

const pour = `insert into cup (id) values (1)`

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	for range 2 {
		if _, err := dbtest.Database(t).Exec(t.Context(), pour); err != nil {
			t.Error(err)
		}
	}
}

func TestTransactionsAreRolledBack(t *testing.T) {
	t.Parallel()
	for range 2 {
		t.Run("", func(t *testing.T) {
			if _, err := dbtest.Tx(t).Exec(t.Context(), pour); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("", func(t *testing.T) {
		url = dbtest.URL(t)
		conn, err := pgx.Connect(t.Context(), url) // left open, as by a program killed in the test
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), pour); err != nil {
			t.Error(err)
		}
	})
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("the database is still there")
	}
}
