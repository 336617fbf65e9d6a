package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which the schema changes; the number is arbitrary.
const migrationLock = 0x0c0ffee

// Migrate brings the schema up to date, ours first, then what then adds, under one lock: processes that
// start together wait for each other, as long as ctx lets them. A database migrated by a newer program is
// refused.
func Migrate(ctx context.Context, pool *pgxpool.Pool, then func(context.Context, *pgxpool.Pool) error) (err error) {
	config := patient(pool)
	lock, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to migrate: %w", err)
	}
	// The end of the session releases the lock, whatever became of it.
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	if _, err := lock.Exec(ctx, `select pg_advisory_lock($1)`, migrationLock); err != nil {
		return fmt.Errorf("waiting for the migration lock: %w", err)
	}
	if err := migrateOwn(ctx, config); err != nil {
		return err
	}
	if err := AddPartitions(ctx, lock, slog.Default()); err != nil {
		return err
	}
	return then(ctx, pool)
}

// AddPartitions makes room for the orders of this month and the next two. Where somebody wrote all the time, or held what
// he wrote, it says so and leaves it to the next time.
func AddPartitions(ctx context.Context, q Querier, log *slog.Logger) error {
	_, err := q.Exec(ctx, `select ensure_partitions(now(), 3)`)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "55P03":
		log.WarnContext(ctx, "partitions for orders of this month or the next two are not made yet, housekeeping will try again", "error", err)
	case err != nil:
		return fmt.Errorf("adding partitions: %w", err)
	}
	return nil
}

// patient is the pool's way to connect without its limits on time: another process may migrate for long,
// and so may we.
func patient(pool *pgxpool.Pool) *pgx.ConnConfig {
	config := pool.Config().ConnConfig
	for _, limit := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[limit] = "0"
	}
	return config
}

func migrateOwn(ctx context.Context, config *pgx.ConnConfig) (err error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	database := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, database.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, database, files)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the database was migrated by a newer Frenchpress (schema %d, this program knows %d); start that one", current, newest)
	}
	// Another process may be serving: what it holds and what a migration holds may be in each other's way.
	if _, err := repeated(func() ([]*goose.MigrationResult, error) { return provider.Up(ctx) }); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}
