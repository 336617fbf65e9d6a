package db_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestOpenRefusesInOneSentence(t *testing.T) {
	t.Parallel()
	existing := dbtest.URL(t)
	mute, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	readOnly := existing + "?"
	if strings.Contains(existing, "?") {
		readOnly = existing + "&"
	}
	for name, test := range map[string]struct{ url, want string }{
		"read-only":        {readOnly + "default_transaction_read_only=on", "is read-only for this user"},
		"not an address":   {"postgres://barista:s3cret@host:port/db", "cannot be read"},
		"bad parameter":    {"postgres://barista:s3cret@localhost/db?sslmode=s3cret", "cannot be read"},
		"nobody listens":   {"postgres://barista:s3cret@127.0.0.1:1/db", "the database db at 127.0.0.1:1 cannot be reached: connect: connection refused"},
		"no such database": {strings.Replace(existing, "/test_", "/missing_", 1), "does not exist"},
		"silence":          {"postgres://barista:s3cret@" + mute.Addr().String() + "/db", "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			pool, err := db.Open(ctx, test.url)
			if err == nil {
				pool.Close()
				t.Fatal("opened")
			}
			said := err.Error()
			if !strings.Contains(said, test.want) || strings.Contains(said, "s3cret") || strings.ContainsAny(said, "\n\t") {
				t.Errorf("said %q, want %q in it, in one line, without the password", said, test.want)
			}
		})
	}
}

func TestOpenSetsTheSession(t *testing.T) {
	t.Parallel()
	pool, err := db.Open(t.Context(), dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var name, zone, limit string
	err = pool.QueryRow(t.Context(), `
    select current_setting('application_name'), current_setting('timezone'), current_setting('statement_timeout')`).Scan(&name, &zone, &limit)
	if err != nil || name != "frenchpress" || zone != "UTC" || limit != "30s" {
		t.Errorf("%q %q %q %v", name, zone, limit, err)
	}
}

func TestOnlyTheRelaxedPoolIsRelaxed(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	sign := "?"
	if strings.Contains(url, sign) {
		sign = "&"
	}
	pool, err := db.Open(t.Context(), url+sign+"synchronous_commit=local&pool_max_conns=10")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	relaxed, err := db.OpenRelaxed(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relaxed.Close)
	for want, of := range map[string]*pgxpool.Pool{"local, UTC": pool, "off, UTC": relaxed} {
		var got string
		err := of.QueryRow(t.Context(), `select current_setting('synchronous_commit') || ', ' || current_setting('timezone')`).Scan(&got)
		if err != nil || got != want {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	if got := relaxed.Config().MaxConns; got != 5 {
		t.Errorf("%d relaxed connections beside 10", got)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	warnings, err := db.Warnings(t.Context(), tx, 16)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(warnings, "\n"); len(warnings) != 3 || !strings.HasPrefix(said, "fsync is off") {
		t.Errorf("got %q, want a sentence for each of the three settings that tests have off", warnings)
	}
	if _, err := tx.Exec(t.Context(), "create role narrow connection limit 24; set local role narrow"); err != nil {
		t.Fatal(err)
	}
	warnings, err = db.Warnings(t.Context(), tx, 16)
	if want := "its role leaves room for 24 connections, and this process makes up to 25:"; err != nil || !strings.Contains(strings.Join(warnings, "\n"), want) {
		t.Errorf("got %q %v, want %q", warnings, err, want)
	}
}
