package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrUnknownToken is a token that is malformed, nobody's, or revoked.
var ErrUnknownToken = errors.New("unknown token")

// Device is a barista's device, paired with one store. Devices alone sets the two times.
type Device struct {
	StoreID   int32
	ID        uuid.UUID
	Name      string
	CreatedAt time.Time
	RevokedAt *time.Time
}

// deviceName is made of the id alone, so that it need not be kept in memory.
func deviceName(id uuid.UUID) string { return "board-" + id.String()[:8] }

// PairDevice pairs a new device with a store and returns its token, which is not kept anywhere.
func PairDevice(ctx context.Context, q Querier, storeID int32) (string, error) {
	tokens, err := pairDevices(ctx, q, []int32{storeID})
	if err != nil {
		return "", err
	}
	return tokens[0], nil
}

// PairAll pairs a new device with every store and hands each slug and token to fn, by slug.
func PairAll(ctx context.Context, q Querier, fn func(slug, token string)) error {
	rows, err := q.Query(ctx, `select store_id, slug from stores order by slug`)
	if err != nil {
		return err
	}
	type store struct {
		ID   int32
		Slug string
	}
	stores, err := pgx.CollectRows(rows, pgx.RowToStructByPos[store])
	if err != nil {
		return err
	}
	ids := make([]int32, len(stores))
	for i, s := range stores {
		ids[i] = s.ID
	}
	tokens, err := pairDevices(ctx, q, ids)
	if err != nil {
		return err
	}
	for i, token := range tokens {
		fn(stores[i].Slug, token)
	}
	return nil
}

func pairDevices(ctx context.Context, q Querier, stores []int32) ([]string, error) {
	tokens, hashes := make([]string, len(stores)), make([][]byte, len(stores))
	ids, names := make([]uuid.UUID, len(stores)), make([]string, len(stores))
	for i, storeID := range stores {
		tokens[i] = newDeviceToken(storeID)
		hashes[i] = tokenHash(tokens[i])
		ids[i] = uuid.New()
		names[i] = deviceName(ids[i])
	}
	_, err := q.Exec(ctx, `
    insert into devices (store_id, id, name, token_hash)
    select *
    from unnest($1::int4[], $2::uuid[], $3::text[], $4::bytea[])`, stores, ids, names, hashes)
	return tokens, err
}

// DeviceByToken is the device that has this token, or ErrUnknownToken.
func DeviceByToken(ctx context.Context, q Querier, token string) (*Device, error) {
	storeID, ok := storeOfDeviceToken(token)
	if !ok {
		return nil, ErrUnknownToken
	}
	d := new(Device)
	err := q.QueryRow(ctx, `
    select store_id, id
    from devices
    where store_id = $1 and token_hash = $2 and revoked_at is null`, storeID, tokenHash(token)).
		Scan(&d.StoreID, &d.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrUnknownToken
	}
	d.Name = deviceName(d.ID)
	return d, err
}

// Devices are the store's devices, newest first, revoked ones included.
func Devices(ctx context.Context, q Querier, storeID int32) ([]Device, error) {
	rows, err := q.Query(ctx, `
    select store_id, id, name, created_at, revoked_at
    from devices
    where store_id = $1
    order by created_at desc, id
    limit 1000`, storeID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Device])
}

// RevokeDevice makes a device's token worthless, or returns ErrNotFound. Its streams end within seconds.
func RevokeDevice(ctx context.Context, q Querier, storeID int32, id uuid.UUID) error {
	return orNotFound(q.Exec(ctx, `
    update devices
    set revoked_at = now()
    where store_id = $1 and id = $2 and revoked_at is null`, storeID, id))
}
