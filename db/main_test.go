package db_test

import (
	"context"
	"errors"
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

// isCode tells whether err is, or wraps, a refusal with this code.
func isCode(err error, code string) bool {
	var refusal *db.Error
	return errors.As(err, &refusal) && refusal.Code == code
}

// noMore is a migration of nothing beyond our own schema.
func noMore(context.Context, *pgxpool.Pool) error { return nil }
