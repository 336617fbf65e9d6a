package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func addStaff(t *testing.T, q db.Querier, name, role string) string {
	t.Helper()
	token, _, err := db.AddStaff(t.Context(), q, name, role)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestStaffTokenIsRenewed(t *testing.T) {
	t.Parallel()
	ctx, tx := t.Context(), dbtest.Tx(t)
	first, renewed, err := db.AddStaff(ctx, tx, "mia", "")
	if err != nil || renewed {
		t.Fatal(renewed, err)
	}
	if staff, err := db.StaffByToken(ctx, tx, first); err != nil || staff.Name != "mia" || staff.Role != db.Admin {
		t.Errorf("%+v, %v", staff, err)
	}
	addStaff(t, tx, "mia", db.Support)
	second, renewed, err := db.AddStaff(ctx, tx, "mia", "")
	if err != nil || !renewed {
		t.Fatal(renewed, err)
	}
	if staff, err := db.StaffByToken(ctx, tx, second); err != nil || staff.Role != db.Support {
		t.Errorf("without a role it changes: %+v, %v", staff, err)
	}
	if _, err := db.StaffByToken(ctx, tx, first); !errors.Is(err, db.ErrUnknownToken) {
		t.Errorf("the token of before: %v", err)
	}
}

func TestDisabledStaffIsOut(t *testing.T) {
	t.Parallel()
	ctx, tx := t.Context(), dbtest.Tx(t)
	token := addStaff(t, tx, "noor", "")
	if err := db.SetPassword(ctx, tx, "noor", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := db.DisableStaff(ctx, tx, "noor"); err != nil {
		t.Fatal(err)
	}
	_, byToken := db.StaffByToken(ctx, tx, token)
	_, byName := db.StaffByName(ctx, tx, "noor")
	_, byPassword := db.CheckPassword(ctx, tx, "noor", "correct horse")
	if !errors.Is(byToken, db.ErrUnknownToken) || !errors.Is(byName, db.ErrNotFound) || !errors.Is(byPassword, db.ErrWrongPassword) {
		t.Error(byToken, byName, byPassword)
	}
	if err := db.DisableStaff(ctx, tx, "nobody"); !errors.Is(err, db.ErrNotFound) {
		t.Error(err)
	}
	addStaff(t, tx, "noor", "")
	if _, err := db.CheckPassword(ctx, tx, "noor", "correct horse"); !errors.Is(err, db.ErrWrongPassword) {
		t.Errorf("let in again, with the password of before: %v", err)
	}
}

func TestStaffNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", " ", "-x", "a b", "a\x00", strings.Repeat("a", 81), "über"} {
		if _, _, err := db.AddStaff(t.Context(), dbtest.Tx(t), name, ""); err == nil || !strings.Contains(err.Error(), "a name is") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	ctx, tx := t.Context(), dbtest.Tx(t)
	addStaff(t, tx, "kim", db.Manager)
	before, err := db.StaffByName(ctx, tx, "kim")
	if err != nil {
		t.Fatal(err)
	}
	for _, weak := range []string{"", "ninechars", strings.Repeat("x", 201), "with\x00control"} {
		if err := db.SetPassword(ctx, tx, "kim", weak); err == nil || !strings.HasPrefix(err.Error(), "the password must") {
			t.Errorf("%q: %v", weak, err)
		}
	}
	if err := db.SetPassword(ctx, tx, "nobody", "long enough"); !errors.Is(err, db.ErrNotFound) {
		t.Error(err)
	}
	if err := db.SetPassword(ctx, tx, "kim", "correct horse"); err != nil {
		t.Fatal(err)
	}
	staff, err := db.CheckPassword(ctx, tx, "kim", "correct horse")
	if err != nil || staff.Role != db.Manager || staff.Stamp() == before.Stamp() {
		t.Errorf("%+v, %v", staff, err)
	}
	for name, password := range map[string]string{"kim": "correct house", "nobody": "correct horse", "Kim": "correct horse"} {
		if _, err := db.CheckPassword(ctx, tx, name, password); !errors.Is(err, db.ErrWrongPassword) {
			t.Errorf("%s %s: %v", name, password, err)
		}
	}
}

func TestUnknownNameTakesAsLong(t *testing.T) {
	ctx, tx := t.Context(), dbtest.Tx(t) // alone: it measures
	addStaff(t, tx, "kim", "")
	if err := db.SetPassword(ctx, tx, "kim", "correct horse"); err != nil {
		t.Fatal(err)
	}
	fastest := func(name string) time.Duration {
		best := time.Hour
		for range 4 {
			began := time.Now()
			if _, err := db.CheckPassword(ctx, tx, name, "wrong password"); !errors.Is(err, db.ErrWrongPassword) {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	known, unknown := fastest("kim"), fastest("nobody")
	if unknown < known/5 { // without a hash to check it is a thousandth
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}

func TestPasswordGivesUpItsPlaceInTheQueue(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.SetPassword(ctx, dbtest.Tx(t), "kim", "correct horse"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAuditKeepsWhoDidWhat(t *testing.T) {
	t.Parallel()
	ctx, tx := t.Context(), dbtest.Tx(t)
	if err := db.Audit(ctx, tx, 1, "kim", "store.paused", map[string]any{"until": "noon"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Audit(ctx, tx, db.Chain, "kim", "staff.signed_in", nil); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(ctx, `
    select store_id || ' ' || actor || ' ' || action || ' ' || detail
    from audit
    where actor = 'kim'
    order by id`)
	if err != nil {
		t.Fatal(err)
	}
	said, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := `1 kim store.paused {"until": "noon"},0 kim staff.signed_in {}`; err != nil || strings.Join(said, ",") != want {
		t.Errorf("%q, %v", said, err)
	}
}
