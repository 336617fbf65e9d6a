package db_test

import (
	"errors"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// scans are how often this transaction has read tables of a name from end to end, and by an index.
func scans(t *testing.T, q db.Querier, tables string) (whole, byIndex int) {
	t.Helper()
	err := q.QueryRow(t.Context(), `
    select coalesce(sum(seq_scan), 0), coalesce(sum(idx_scan), 0)
    from pg_stat_xact_user_tables
    where relname like $1`, tables).Scan(&whole, &byIndex)
	if err != nil {
		t.Fatal(err)
	}
	return whole, byIndex
}

func TestFindOrderGoesByTheKey(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	to := time.Now()
	if _, err := db.FindOrder(t.Context(), tx, 1, 7, to.AddDate(0, 0, -1), to); !errors.Is(err, db.ErrNotFound) {
		t.Fatal(err)
	}
	if whole, byIndex := scans(t, tx, "orders%"); whole != 0 || byIndex < 1 || byIndex > 2 { // a day may lie in two months
		t.Errorf("read %d partitions from end to end, %d by the key", whole, byIndex)
	}
}

func TestSubscribersGoByTheirIndex(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	if _, err := tx.Exec(t.Context(), `
    insert into notification_preferences (address, kind, channel, allowed)
    select 'person' || n, case when n % 5 = 0 then 'marketing' else 'order_ready' end, 'email', n % 3 > 0
    from generate_series(1, 3000) as n`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `analyze notification_preferences`); err != nil {
		t.Fatal(err)
	}
	before, _ := scans(t, tx, "notification_preferences")
	var after int64
	found := 0
	for {
		page, err := db.Subscribers(t.Context(), tx, after, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		found, after = found+len(page), page[len(page)-1].ID
	}
	if whole, _ := scans(t, tx, "notification_preferences"); found != 400 || whole != before {
		t.Errorf("found %d, reading from end to end %d times", found, whole-before)
	}
}

// TestAddressesOfStaff: the database agrees with the program on what an address is.
func TestAddressesOfStaff(t *testing.T) {
	t.Parallel()
	ctx, pool := t.Context(), dbtest.Database(t)
	addStaff(t, pool, "mia", db.Support)
	for address, good := range map[string]bool{
		"mia@example.com": true, "mia+desk@example.co.uk": true, "m@x": true, "ü@exämple.com": true,
		"": false, "mia": false, "@example.com": false, "mia@": false, "a b@example.com": false, "a@b@c": false, "<a@b>": false, "a\\b@c": false,
		"a[b@c": false, "a]b@c": false, "a\x00@b": false, "a\x07@b": false, "a@b\n": false,
	} {
		if err := db.SetEmail(ctx, pool, "mia", address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := pool.Exec(ctx, `update staff set email = $1 where name = 'mia'`, address); (err == nil) != good {
			t.Errorf("%q in the database: %v", address, err)
		}
	}
	if err := db.SetEmail(ctx, pool, "eve", "eve@example.com"); !errors.Is(err, db.ErrNotFound) {
		t.Error(err)
	}
}
