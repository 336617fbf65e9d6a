package db_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// ahead runs a part of a test in a program whose clock goes wrong by so much, or right with 0. In its bubble the clock
// stands still but for those who sleep, and the database's goes on as ever.
func ahead(t *testing.T, by time.Duration, run func(t *testing.T)) {
	t.Helper()
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now.Add(by)))
		run(t)
	})
}

// TestTheCatalogGoesByTheDatabasesClock has staff change things, in this process and another, where the clock of the
// machine goes wrong.
func TestTheCatalogGoesByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"an hour fast": time.Hour, "an hour slow": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t)
			ahead(t, by, func(t *testing.T) {
				pool, err := pgxpool.New(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				catalog, err := db.OpenCatalog(t.Context(), pool)
				if err != nil {
					t.Fatal(err)
				}
				for _, minutes := range []int{20, 25} {
					store, _ := catalog.Store("ferry-building")
					if err := catalog.Patch(t.Context(), store, db.StorePatch{SlotMinutes: &minutes}, "test"); err != nil {
						t.Fatalf("slots of %d minutes: %v", minutes, err) // that it was changed meanwhile, of what only we changed
					}
					if changed, _ := catalog.Store("ferry-building"); changed.SlotMinutes != minutes || changed.Version != store.Version+1 {
						t.Errorf("slots of %d minutes at version %d, want %d at %d", changed.SlotMinutes, changed.Version, minutes, store.Version+1)
					}
				}
				changesPrices(t, pool, catalog)
			})
		})
	}
}

// changesPrices has a new version of the chain's menu written by another process.
func changesPrices(t *testing.T, pool *pgxpool.Pool, catalog *db.Catalog) {
	t.Helper()
	store, _ := catalog.Store("ferry-building")
	before, err := catalog.View(t.Context(), store, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `
    insert into menus (menu_id, version, content, created_by) overriding system value
    select menu_id, max(version) + 1, (array_agg(content))[1], 'test'
    from menus
    where menu_id = $1
    group by menu_id`, store.MenuID); err != nil {
		t.Fatal(err)
	}
	if err := catalog.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := catalog.View(t.Context(), store, time.Now())
	if err != nil || after.Version == before.Version {
		t.Errorf("the menu is still of version %s (%v)", after.Version, err)
	}
}

// TestAClockThatJumpedIsForgotten has one order come while the clock was a year ahead, for which there is no place, and
// others when it is right again.
func TestAClockThatJumpedIsForgotten(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	var early *db.Placing
	ahead(t, 365*24*time.Hour, func(t *testing.T) { early = w.latte(t, "card", "early") })
	if placed, err := w.Place(t.Context(), early); err == nil {
		t.Errorf("placed a year ahead: %+v", placed)
	}
	placed, err := w.Place(t.Context(), w.latte(t, "card", "key"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	listed, err := db.ListOrders(t.Context(), w.pool, w.store.ID, db.OrderFilter{From: now.Add(-time.Minute), To: now.Add(time.Minute), Limit: 10})
	if err != nil || len(listed) != 1 || listed[0].ID != placed.Order.ID {
		t.Errorf("of this minute are %d orders (%v)", len(listed), err)
	}
}

// TestIDsAreOfTheirTime wants orders sorted by id as by the moment they were placed at, and no two with one id.
func TestIDsAreOfTheirTime(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	orders := make([]*db.Order, 3000)
	seen := map[uuid.UUID]bool{}
	for i := range orders {
		o := w.latte(t, "card", "key").Order
		seconds, nanos := o.ID.Time().UnixTime()
		if ms := time.Unix(seconds, nanos).UnixMilli(); ms != o.PlacedAt.UnixMilli() || o.ID.Version() != 7 || o.ID.Variant() != uuid.RFC4122 {
			t.Fatalf("the id %s of an order of %s", o.ID, o.PlacedAt)
		}
		orders[i], seen[o.ID] = o, true
	}
	if len(seen) != len(orders) {
		t.Errorf("%d ids for %d orders", len(seen), len(orders))
	}
	slices.SortFunc(orders, func(a, b *db.Order) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if !slices.IsSortedFunc(orders, func(a, b *db.Order) int { return a.PlacedAt.Compare(b.PlacedAt) }) {
		t.Error("sorted by id they are not sorted by time")
	}
}

// TestAMessageIsSentByTheDatabasesClock has a machine that is fast come to a message that another one is sending.
func TestAMessageIsSentByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	ahead(t, 45*time.Second, func(t *testing.T) {
		pool, err := pgxpool.New(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		n := db.Notification{StoreID: db.Chain, Subject: uuid.New(), Kind: "password_reset", Channel: "email", Address: "ada@example.com"}
		if why, err := db.ClaimNotification(t.Context(), pool, n); why != "" || err != nil {
			t.Fatalf("claimed: %q, %v", why, err)
		}
		if why, err := db.ClaimNotification(t.Context(), pool, n); !errors.Is(err, db.ErrClaimBusy) {
			t.Errorf("claimed again while it is sent: %q, %v", why, err)
		}
	})
}
