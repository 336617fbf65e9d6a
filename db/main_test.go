package db_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m, func(ctx context.Context, pool *pgxpool.Pool) error {
		if err := db.Migrate(ctx, pool, noMore); err != nil {
			return err
		}
		return db.SeedDemo(ctx, pool)
	})
}

// noMore is a migration of nothing beyond our own schema.
func noMore(context.Context, *pgxpool.Pool) error { return nil }
