package main

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// quiet stands between a shop and its database, and lets nothing through while it holds silence.
type quiet struct{ silence sync.RWMutex }

// between returns a DATABASE_URL that leads through q.
func (q *quiet) between(t *testing.T, databaseURL string) string {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	pass := func(to, from net.Conn) {
		defer func() { _, _ = to.Close(), from.Close() }()
		buffer := make([]byte, 4096)
		for {
			n, err := from.Read(buffer)
			q.silence.RLock()
			_, failed := to.Write(buffer[:n])
			q.silence.RUnlock()
			if err != nil || failed != nil {
				return
			}
		}
	}
	go func() {
		for {
			shop, err := listener.Accept()
			if err != nil {
				return
			}
			database, err := new(net.Dialer).DialContext(context.Background(), network, address)
			if err != nil {
				_ = shop.Close()
				continue
			}
			go pass(database, shop)
			go pass(shop, database)
		}
	}()
	return "postgres://" + config.User + "@" + listener.Addr().String() + "/" + config.Database + "?sslmode=disable"
}

// TestSilentDatabase asks while no packet comes back from the database: nobody waits for ever, or is cut off.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	var q quiet
	direct := dbtest.URL(t)
	s := openShopOn(t, q.between(t, direct), "DATA_DIR="+dataDir(t, direct))
	o := s.place(t, atCounter()).order(t)
	device, staff := s.device(t, testStore), s.staff(t, "errors", db.Admin)
	q.silence.Lock()
	speak := sync.OnceFunc(q.silence.Unlock)
	defer speak()
	began := time.Now()
	const at = "/v1/stores/" + testStore
	var calls sync.WaitGroup
	for _, ask := range []func() answer{
		func() answer { return s.place(t, latte(nil)) },
		func() answer { return s.call(t, "GET", o.path(), o.Token, nil) },
		func() answer { return s.call(t, "GET", o.path()+"/live", o.Token, nil) },
		func() answer { return s.call(t, "GET", at+"/orders", staff, nil) },
		func() answer { return s.call(t, "GET", at+"/board", device, nil) },
		func() answer { return s.call(t, "GET", at+"/board/live", device, nil) },
	} {
		calls.Go(func() {
			got := ask()
			if got.StatusCode != 503 || got.Header.Get("Retry-After") == "" {
				t.Errorf("%s %s: %d, want 503 with Retry-After: %s", got.Request.Method, got.Request.URL.Path, got.StatusCode, got.body)
			}
		})
	}
	calls.Wait()
	if took := time.Since(began); took > requestTimeout {
		t.Errorf("they took %v", took)
	}
	speak()
	s.eventually(t, o, 10*time.Second, func(o order) bool { return o.Status == "placed" })
}
