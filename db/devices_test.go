package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestDeviceIsPairedAndRevoked(t *testing.T) {
	t.Parallel()
	ctx, tx := t.Context(), dbtest.Tx(t)
	token, err := db.PairDevice(ctx, tx, 1)
	if err != nil {
		t.Fatal(err)
	}
	device, err := db.DeviceByToken(ctx, tx, token)
	if err != nil || device.StoreID != 1 || !strings.HasPrefix(device.Name, "board-") {
		t.Fatalf("%+v, %v", device, err)
	}
	if err := db.RevokeDevice(ctx, tx, 2, device.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("another store revokes it: %v", err)
	}
	if err := db.RevokeDevice(ctx, tx, 1, uuid.New()); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("a device that is not there: %v", err)
	}
	if err := db.RevokeDevice(ctx, tx, 1, device.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.DeviceByToken(ctx, tx, token); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("after it was revoked: %v", err)
	}
	all, err := db.Devices(ctx, tx, 1)
	if err != nil || len(all) != 1 || all[0].ID != device.ID || all[0].RevokedAt == nil {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestMalformedTokensAreUnknown(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	other, err := db.PairDevice(t.Context(), tx, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", "fpd_", "fps_", other + "A", other[:20], "fpd_" + strings.Repeat("A", 38), "fps_" + strings.Repeat("A", 32), strings.Repeat("x", 1<<16), "fpd_\x00"} {
		if _, err := db.DeviceByToken(t.Context(), tx, token); !errors.Is(err, db.ErrUnknownToken) {
			t.Errorf("device %.60q: %v", token, err)
		}
		if _, err := db.StaffByToken(t.Context(), tx, token); !errors.Is(err, db.ErrUnknownToken) {
			t.Errorf("staff %.60q: %v", token, err)
		}
	}
}

func TestPairAllPairsEveryStore(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), dbtest.Database(t)
	if err := db.Seed(ctx, pool, 500); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	if err := db.PairAll(ctx, pool, func(slug, token string) { tokens[slug] = token }); err != nil {
		t.Fatal(err)
	}
	catalog, err := db.OpenCatalog(ctx, pool)
	if err != nil {
		t.Fatal(err)
	}
	if len(tokens) != 500 {
		t.Errorf("%d stores", len(tokens))
	}
	for _, slug := range []string{"ferry-building", "store-00017"} {
		device, err := db.DeviceByToken(ctx, pool, tokens[slug])
		if err != nil {
			t.Fatal(slug, err)
		}
		if store, _ := catalog.Store(slug); store == nil || store.ID != device.StoreID {
			t.Errorf("the token of %s is for store %d", slug, device.StoreID)
		}
	}
}

// pairing is a device as its user has it.
type pairing struct {
	*db.Device
	token string
}

func pair(t *testing.T, pool *pgxpool.Pool) pairing {
	t.Helper()
	token, err := db.PairDevice(t.Context(), pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	device, err := db.DeviceByToken(t.Context(), pool, token)
	if err != nil {
		t.Fatal(err)
	}
	return pairing{device, token}
}

func TestPairings(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	kept, lost := pair(t, pool), pair(t, pool)
	pairings, err := db.OpenPairings(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RevokeDevice(t.Context(), pool, 1, lost.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := pairings.Device(t.Context(), lost.token); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("a device that was revoked before it heard of anything: %v", err)
	}
	running, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- pairings.Run(running) }()

	unasked, end := context.WithCancel(t.Context())
	end() // under a context that has ended no database can be asked
	knows := func(p pairing) bool {
		device, err := pairings.Device(unasked, p.token)
		return err == nil && *device == *p.Device
	}
	dbtest.Becomes(t, 3*time.Second, "it knows by itself a device that was there before", func() bool { return knows(kept) })
	late := pair(t, pool)
	if knows(late) {
		t.Error("it knows a device that it has not read: this test cannot tell whether it asks")
	}
	if device, err := pairings.Device(t.Context(), late.token); err != nil || *device != *late.Device || !knows(late) {
		t.Errorf("a device that was paired later: %+v, %v", device, err)
	}
	if pairings.Revoked(kept.ID) {
		t.Error("a device is revoked that is not")
	}
	if err := db.RevokeDevice(t.Context(), pool, 1, late.ID); err != nil {
		t.Fatal(err)
	}
	dbtest.Becomes(t, 3*time.Second, "it hears of a revocation", func() bool { return pairings.Revoked(late.ID) && !knows(late) })
	if _, err := pairings.Device(t.Context(), late.token); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("after it was revoked: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	dbtest.Becomes(t, 15*time.Second, "while it hears of nothing it asks", func() bool { return !knows(kept) })
	if device, err := pairings.Device(t.Context(), kept.token); err != nil || *device != *kept.Device {
		t.Errorf("%+v, %v", device, err)
	}
}
