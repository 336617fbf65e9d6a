package db

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// pairingsKept bounds the devices in memory, at some 80 bytes each: four for each store of the largest chain.
	pairingsKept = 1 << 17
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

// Pairings know the devices that are paired and hear of those that are revoked, by whichever process, within two seconds, so
// that a request of a board asks no database; what cannot be heard is believed for revokedStale. All methods are safe for
// concurrent use.
type Pairings struct {
	pool *pgxpool.Pool
	from time.Time // of the next look, by the clock of the database, which stamps revocations; only looks use it

	mu      sync.RWMutex
	devices map[[sha256.Size]byte]pairing // by the hash of the token
	revoked map[uuid.UUID]struct{}        // since the start, for ever: a device that was read before may come in after
	looked  time.Time
}

// pairing has no pointers: the garbage collector need not look at the devices of a whole chain.
type pairing struct {
	storeID int32
	id      uuid.UUID
}

// OpenPairings reads the devices that are paired. Run makes it hear of revocations.
func OpenPairings(ctx context.Context, pool *pgxpool.Pool) (*Pairings, error) {
	p := &Pairings{pool: pool, devices: map[[sha256.Size]byte]pairing{}, revoked: map[uuid.UUID]struct{}{}}
	var now time.Time
	if err := pool.QueryRow(ctx, `select now()`).Scan(&now); err != nil {
		return nil, err
	}
	p.from = now.Add(-revokedOverlap)
	rows, err := pool.Query(ctx, `
    select token_hash, store_id, id
    from devices
    where revoked_at is null
    limit $1`, pairingsKept)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hash []byte
		var device pairing
		if err := rows.Scan(&hash, &device.storeID, &device.id); err != nil {
			return nil, err
		}
		p.keep([sha256.Size]byte(hash), device)
	}
	return p, rows.Err()
}

// Run looks for revocations until ctx ends. After an interruption it makes up for what it missed.
func (p *Pairings) Run(ctx context.Context) error {
	return every(ctx, revokedEvery, "looking for revoked devices", p.look)
}

// Device is the device that has this token, or ErrUnknownToken. The database is asked about one that is new, and about
// all while revocations cannot be heard of.
func (p *Pairings) Device(ctx context.Context, token string) (*Device, error) {
	hash := [sha256.Size]byte(tokenHash(token))
	switch device, known, revoked := p.known(hash); {
	case revoked:
		return nil, ErrUnknownToken
	case known:
		return &Device{StoreID: device.storeID, ID: device.id, Name: deviceName(device.id)}, nil
	}
	device, err := DeviceByToken(ctx, p.pool, token)
	if err == nil {
		p.keep(hash, pairing{device.StoreID, device.ID})
	}
	return device, err
}

// Revoked tells whether the device is known to be revoked.
func (p *Pairings) Revoked(device uuid.UUID) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, revoked := p.revoked[device]
	return revoked
}

// known is the device with a token, if it is known not to be revoked: nobody has said so, and it would have been heard.
func (p *Pairings) known(hash [sha256.Size]byte) (device pairing, known, revoked bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if device, known = p.devices[hash]; known {
		_, revoked = p.revoked[device.id]
	}
	return device, known && !revoked && time.Since(p.looked) <= revokedStale, revoked
}

// keep remembers a device, in place of any one if there are too many.
func (p *Pairings) keep(hash [sha256.Size]byte, device pairing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[hash] = device
	for other := range p.devices {
		if len(p.devices) <= pairingsKept {
			break
		}
		delete(p.devices, other)
	}
}

func (p *Pairings) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokedPatience)
	defer cancel()
	began := time.Now()
	var ids []uuid.UUID
	var now time.Time
	err := p.pool.QueryRow(ctx, `
    select now(), array(select id from devices where revoked_at >= $1)`, p.from).Scan(&now, &ids)
	if err != nil {
		return err
	}
	p.from = now.Add(-revokedOverlap)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked = began
	for _, id := range ids {
		p.revoked[id] = struct{}{}
	}
	return nil
}
