package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// cut says which COMMIT of a pool from now on is lost, which one's answer is, or which ROLLBACK: 1 is the next, 0 none.
type cut struct {
	commit, answer, rollback atomic.Int32
	silent                   atomic.Pointer[cutter]
}

// cutter is a connection that breaks at a COMMIT: before it is sent, or before its answer. At a ROLLBACK it falls silent:
// nothing comes through any more, and nobody is told.
type cutter struct {
	net.Conn
	*cut
	deaf atomic.Bool
}

func (c *cutter) Write(data []byte) (int, error) {
	if bytes.Contains(data, []byte("commit")) {
		if c.commit.Add(-1) == 0 {
			_ = c.Close()
			return 0, net.ErrClosed
		}
		if c.answer.Add(-1) == 0 {
			c.deaf.Store(true)
		}
	}
	if bytes.Contains(data, []byte("rollback")) && c.rollback.Add(-1) == 0 {
		c.silent.Store(c)
	}
	if c.silent.Load() == c {
		return len(data), nil
	}
	return c.Conn.Write(data)
}

func (c *cutter) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	if c.deaf.Load() { // by now it is committed
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// cuttablePool is a pool whose commits can be lost. adjust may be nil.
func cuttablePool(t *testing.T, url string, adjust func(*pgxpool.Config)) (*pgxpool.Pool, *cut) {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	next := new(cut)
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &cutter{Conn: conn, cut: next}, err
	}
	if adjust != nil {
		adjust(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, next
}

// TestALostCommitIsSeen has somebody watch an order whose change is committed, which nobody is told.
func TestALostCommitIsSeen(t *testing.T) {
	t.Parallel()
	pool, next := cuttablePool(t, dbtest.URL(t), nil)
	w := openTill(t, pool, 0)
	placed, err := w.Place(t.Context(), w.latte(t, "card", "key"))
	if err != nil {
		t.Fatal(err)
	}
	w.runHub(t)
	watcher := w.hub.WatchOrder(placed.Order.Ref())
	defer watcher.Close()
	next.answer.Store(1)
	if _, err := w.Advance(t.Context(), placed.Order.Ref(), db.CancelByCustomer("customer", "")); !errors.Is(err, db.ErrCommitUnknown) {
		t.Fatalf("a lost commit: %v", err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen, err := watcher.Next(waiting)
	if err != nil || seen[0].Status != db.Cancelled {
		t.Errorf("seen: %v, %v", seen, err)
	}
}

// TestALostCommitIsFoundByItsKey is the one failure where nobody knows whether the order exists: whoever asks
// again under the same key finds out.
func TestALostCommitIsFoundByItsKey(t *testing.T) {
	t.Parallel()
	pool, next := cuttablePool(t, dbtest.URL(t), nil)
	w := openTill(t, pool, 0)
	lost := w.latte(t, "card", "key")
	next.answer.Store(1)
	if placed, err := w.Place(t.Context(), lost); !errors.Is(err, db.ErrCommitUnknown) {
		t.Fatalf("a lost commit: %+v, %v", placed, err)
	}
	found, err := w.Place(t.Context(), w.latte(t, "card", "key"))
	if err != nil || found.Replay == nil || found.Replay.OrderID != lost.Order.ID {
		t.Errorf("asked again: %+v, %v; the order was %s", found, err, lost.Order.ID)
	}
	if n := texts(t, pool, `select count(*)::text from orders`); n[0] != "1" {
		t.Errorf("%s orders", n[0])
	}
}

// TestASilentNetworkHoldsNobodyUp has the network fall silent just when a flush failed: the next one begins all the same.
func TestASilentNetworkHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	pool, next := cuttablePool(t, dbtest.URL(t), nil)
	w := openTill(t, pool, 0)
	fault := errors.New("no room for jobs")
	w.onWrite = func(context.Context, pgx.Tx, []db.OrderRef) error { return fault }
	next.rollback.Store(1)
	defer func() { _ = next.silent.Load().Close() }() // as TCP does in the end
	waiting, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if placed, err := w.Place(waiting, w.latte(t, "card", "key")); !errors.Is(err, fault) {
		t.Errorf("placed in a flush that fails: %+v, %v", placed, err)
	}
	elsewhere := w.latte(t, "counter", "key") // it needs no row that the lost connection holds until the server misses it
	catalog, err := db.OpenCatalog(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Store, _ = catalog.Store("hayes-valley")
	elsewhere.Order.StoreID = elsewhere.Store.ID
	if placed, err := w.Place(waiting, elsewhere); err != nil || placed.Order == nil {
		t.Errorf("the next order: %+v, %v", placed, err)
	}
}

// TestTheBoardKeepsUpWithTheCounter has more orders moved at a time than are placed at a time, as each is moved three times.
func TestTheBoardKeepsUpWithTheCounter(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	w := openTill(t, pool, 0)
	const orders = 600
	refs := make([]db.OrderRef, orders)
	var placing errgroup.Group
	for i := range refs {
		latte := w.latte(t, "card", fmt.Sprint("key ", i))
		placing.Go(func() error {
			placed, err := w.Place(t.Context(), latte)
			if err == nil {
				refs[i] = placed.Order.Ref()
			}
			return err
		})
	}
	if err := placing.Wait(); err != nil {
		t.Fatal(err)
	}
	held, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `select from orders where id = $1 for update`, refs[0].ID); err != nil {
		t.Fatal(err)
	}
	var moving errgroup.Group
	move := func(ref db.OrderRef) {
		moving.Go(func() error {
			_, err := w.Advance(t.Context(), ref, db.CancelByCustomer("customer", ""))
			return err
		})
	}
	move(refs[0])
	time.Sleep(100 * time.Millisecond) // it is being written, and waits
	for _, ref := range refs[1:] {
		move(ref)
	}
	time.Sleep(500 * time.Millisecond) // all of them wait for it
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := moving.Wait(); err != nil {
		t.Fatal(err)
	}
	var groups int
	if err := pool.QueryRow(t.Context(), `select count(distinct xmin::text) from order_history where version = 2 and order_id <> $1`, refs[0].ID).Scan(&groups); err != nil {
		t.Fatal(err)
	}
	if groups > 2 { // one, or two where somebody came late
		t.Errorf("%d orders were moved in %d groups", orders-1, groups)
	}
}
