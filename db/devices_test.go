package db_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

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

func TestRevokedHearsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	revoked := db.NewRevoked(pool)
	if revoked.Clears(uuid.New(), time.Now()) {
		t.Error("clears a device before it has looked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- revoked.Run(ctx) }()
	token, err := db.PairDevice(ctx, pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	device, err := db.DeviceByToken(ctx, pool, token)
	if err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(3 * time.Second); !revoked.Clears(device.ID, time.Now()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("does not clear a device that is good")
		}
	}
	if revoked.Has(device.ID) || revoked.Clears(device.ID, time.Now().Add(time.Minute)) {
		t.Error("knows what did not happen, or what it has not looked for")
	}
	if err := db.RevokeDevice(ctx, pool, 1, device.ID); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(3 * time.Second); !revoked.Has(device.ID); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("has not heard of it")
		}
	}
	if revoked.Clears(device.ID, time.Now()) {
		t.Error("clears a device that was revoked")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPairedDevices(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	tokens := map[[sha256.Size]byte]bool{}
	var devices []*db.Device
	for range 3 {
		token, err := db.PairDevice(t.Context(), tx, 1)
		if err != nil {
			t.Fatal(err)
		}
		device, err := db.DeviceByToken(t.Context(), tx, token)
		if err != nil {
			t.Fatal(err)
		}
		tokens[sha256.Sum256([]byte(token))] = true
		devices = append(devices, device)
	}
	count := func(limit int) (known int) {
		err := db.PairedDevices(t.Context(), tx, limit, func(hash [sha256.Size]byte, d *db.Device) {
			if i := slices.IndexFunc(devices, func(other *db.Device) bool { return other.ID == d.ID }); tokens[hash] && i >= 0 && *devices[i] == *d {
				known++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	if n := count(100); n != 3 {
		t.Errorf("%d of 3 are known", n)
	}
	if err := db.RevokeDevice(t.Context(), tx, 1, devices[0].ID); err != nil {
		t.Fatal(err)
	}
	if all, one := count(100), count(1); all != 2 || one != 1 {
		t.Errorf("after one was revoked %d are known, and %d of at most one", all, one)
	}
}
