package db

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// revokedEvery is how often revocations are looked for: one small query for all streams of this
	// process, instead of one per stream.
	revokedEvery = time.Second
	// revokedOverlap is how far back a look goes: rows are stamped before they are committed, by no more than a
	// statement may take.
	revokedOverlap = time.Minute
	// revokedPatience bounds a look: the next one may find a connection that works.
	revokedPatience = 2 * time.Second
	// revokedKept is how long a revocation is remembered, far longer than a stream goes unchecked or a credential is
	// believed.
	revokedKept = 10 * time.Minute
)

// Revoked knows the devices revoked lately, by whichever process, so that their streams can be closed.
// All methods are safe for concurrent use.
type Revoked struct {
	pool *pgxpool.Pool
	from time.Time // of the next look, by the clock of the database, which stamps revocations; only looks use it

	mu      sync.RWMutex
	devices map[uuid.UUID]time.Time
}

// NewRevoked knows nothing yet. Run makes it learn, at first all that were ever revoked.
func NewRevoked(pool *pgxpool.Pool) *Revoked {
	return &Revoked{pool: pool, devices: map[uuid.UUID]time.Time{}}
}

// Run looks for revocations until ctx ends. After an interruption it makes up for what it missed.
func (r *Revoked) Run(ctx context.Context) error {
	return every(ctx, revokedEvery, "looking for revoked devices", r.look)
}

// Has tells whether the device was revoked lately, at most two seconds late.
func (r *Revoked) Has(device uuid.UUID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, revoked := r.devices[device]
	return revoked
}

func (r *Revoked) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokedPatience)
	defer cancel()
	var ids []uuid.UUID
	var now time.Time
	err := r.pool.QueryRow(ctx, `
    select now(), array(select id from devices where revoked_at >= $1)`, r.from).Scan(&now, &ids)
	if err != nil {
		return err
	}
	r.from = now.Add(-revokedOverlap)
	r.note(ids, time.Now())
	return nil
}

func (r *Revoked) note(ids []uuid.UUID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.devices[id] = now
	}
	for id, noted := range r.devices {
		if now.Sub(noted) > revokedKept {
			delete(r.devices, id)
		}
	}
}
