package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

const secretBytes = 32

// Secret is the key that signs tokens and sessions: configured, if that is not empty, else the one that
// the first start put into the database for all processes.
func Secret(ctx context.Context, pool *pgxpool.Pool, configured string) ([]byte, error) {
	if configured != "" {
		if len(configured) < secretBytes {
			return nil, fmt.Errorf("SECRET_KEY must have at least %d characters", secretBytes)
		}
		return []byte(configured), nil
	}
	made := make([]byte, secretBytes)
	_, _ = rand.Read(made) // never fails
	if _, err := pool.Exec(ctx, `
    insert into secrets (name, value)
    values ('secret_key', $1)
    on conflict do nothing`, made); err != nil {
		return nil, err
	}
	var kept []byte
	if err := pool.QueryRow(ctx, `select value from secrets where name = 'secret_key'`).Scan(&kept); err != nil {
		return nil, err
	}
	if len(kept) < secretBytes {
		return nil, errors.New("the secret_key in the database is too short")
	}
	return kept, nil
}
