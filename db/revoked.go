package db

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// revokedEvery is how often revocations are looked for: one small query for all devices of this
	// process, instead of one per request and stream.
	revokedEvery = time.Second
	// revokedOverlap is how far back a look goes: rows are stamped before they are committed, by no more than a
	// statement may take.
	revokedOverlap = time.Minute
	// revokedPatience bounds a look: the next one may find a connection that works.
	revokedPatience = 2 * time.Second
	// revokedStale is how old the last look may be for its silence to mean anything.
	revokedStale = 10 * time.Second
)

// Revoked knows the devices that were ever revoked, by whichever process, at most two seconds late. All methods are safe
// for concurrent use.
type Revoked struct {
	pool *pgxpool.Pool
	from time.Time // of the next look, by the clock of the database, which stamps revocations; only looks use it

	mu      sync.RWMutex
	devices map[uuid.UUID]struct{}
	looked  time.Time
}

// NewRevoked knows nothing yet. Run makes it learn.
func NewRevoked(pool *pgxpool.Pool) *Revoked {
	return &Revoked{pool: pool, devices: map[uuid.UUID]struct{}{}}
}

// Run looks for revocations until ctx ends. After an interruption it makes up for what it missed.
func (r *Revoked) Run(ctx context.Context) error {
	return every(ctx, revokedEvery, "looking for revoked devices", r.look)
}

// Has tells whether the device is known to be revoked.
func (r *Revoked) Has(device uuid.UUID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, revoked := r.devices[device]
	return revoked
}

// Clears tells whether the device is known not to be revoked: nobody has said so, and it would have been heard.
func (r *Revoked) Clears(device uuid.UUID, now time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, revoked := r.devices[device]
	return !revoked && now.Sub(r.looked) < revokedStale
}

func (r *Revoked) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokedPatience)
	defer cancel()
	began := time.Now()
	var ids []uuid.UUID
	var now time.Time
	err := r.pool.QueryRow(ctx, `
    select now(), array(select id from devices where revoked_at >= $1)`, r.from).Scan(&now, &ids)
	if err != nil {
		return err
	}
	r.from = now.Add(-revokedOverlap)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked = began
	for _, id := range ids {
		r.devices[id] = struct{}{}
	}
	return nil
}
