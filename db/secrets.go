package db

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const secretBytes = 32

// Secret is the key from which orders' tokens and the codes of password resets are derived: configured, if that is not empty, else the one that
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

// MarkSecret notes which secret signs from now on, and tells whether another one did before.
func MarkSecret(ctx context.Context, pool *pgxpool.Pool, secret []byte) (changed bool, err error) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("mark\x00"))
	err = pool.QueryRow(ctx, `
    insert into secrets as s (name, value)
    values ('secret_key_mark', $1)
    on conflict (name) do update set value = excluded.value where s.value <> excluded.value
    returning xmax <> 0`, mac.Sum(nil)).Scan(&changed)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return changed, err
}
