package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// twoProcesses are two write paths on one database, with connections of their own. Every deadlock that
// PostgreSQL has to break is counted: the groups would only try again.
func twoProcesses(t *testing.T, prepare ...string) (processes [2]*till, deadlocks *atomic.Int32) {
	t.Helper()
	deadlocks = new(atomic.Int32)
	url := dbtest.URL(t)
	for i := range processes {
		pool, next := cuttablePool(t, url, func(config *pgxpool.Config) {
			config.MaxConns = 8
			config.ConnConfig.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
				if err.Code == "40P01" {
					deadlocks.Add(1)
				}
				return err.Severity != "FATAL"
			}
		})
		for _, sql := range prepare {
			if _, err := pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		processes[i] = openTill(t, pool, 6)
		processes[i].cut = next
	}
	return processes, deadlocks
}

// TestTwoProcessesPlaceAtOnce has keys that both use and keys of their own, and few places in a slot, so that
// keys, slots and counters are all fought for. A key is one order, whoever wins it.
func TestTwoProcessesPlaceAtOnce(t *testing.T) {
	t.Parallel()
	const shared, own, slotLimit = 50, 50, 3
	processes, deadlocks := twoProcesses(t, `update store_settings set slot_minutes = 15, slot_limit = `+strconv.Itoa(slotLimit))
	var placed [2][shared + own]db.Placed
	var all errgroup.Group
	for _, i := range rand.Perm(2 * (shared + own)) {
		p, n := i%2, i/2
		key := strconv.Itoa(n)
		if n >= shared {
			key = fmt.Sprintf("%d of %d", n, p)
		}
		all.Go(func() (err error) {
			placed[p][n], err = processes[p].Place(t.Context(), processes[p].latte(t, "card", key))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	numbers := map[int]bool{}
	for n := range shared + own {
		one, other := placed[0][n], placed[1][n]
		if one.Order == nil {
			one, other = other, one
		}
		isOrder := one.Order != nil && other.Order != nil
		isReplay := one.Order != nil && other.Replay != nil && other.Replay.OrderID == one.Order.ID
		if (n < shared && !isReplay) || (n >= shared && !isOrder) {
			t.Fatalf("key %d is %+v and %+v", n, one, other)
		}
		numbers[one.Order.Number] = true
		if isOrder {
			numbers[other.Order.Number] = true
		}
	}
	const orders = shared + 2*own
	for n := 1; n <= orders; n++ {
		if !numbers[n] {
			t.Errorf("nobody has the number %d", n)
		}
	}
	pool := processes[0].pool
	if stored := texts(t, pool, `select count(*)::text from orders`); stored[0] != strconv.Itoa(orders) {
		t.Errorf("%s orders, want %d", stored[0], orders)
	}
	for _, slot := range texts(t, pool, `
    select starts_at || ': ' || taken || ' taken, ' || (select count(*) from orders o where o.store_id = s.store_id and o.slot_starts_at = s.starts_at)
    from slots s
    where taken > $1 or taken <> (select count(*) from orders o where o.store_id = s.store_id and o.slot_starts_at = s.starts_at)`, slotLimit) {
		t.Errorf("slot %s", slot)
	}
	if n := deadlocks.Load(); n > 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// TestTwoProcessesMoveTheSameOrders sends every command through both, in any order, while customers cancel and
// new orders come in. Both answer a command alike, and no version is lost.
func TestTwoProcessesMoveTheSameOrders(t *testing.T) {
	t.Parallel()
	const orders = 24
	processes, deadlocks := twoProcesses(t, `update store_settings set slot_limit = 5, slot_minutes = 15`)
	refs := make([]db.OrderRef, orders)
	for i := range refs {
		placed, err := processes[i%2].Place(t.Context(), processes[i%2].latte(t, "counter", "first "+strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = placed.Order.Ref()
	}
	var commands []*db.Command
	for _, ref := range refs {
		for i, kind := range []string{"start", "ready", "take_payment", "collect", "seen", "undo", "cancel", "start"} {
			commands = append(commands, &db.Command{
				ID: uuid.New(), DeviceSeq: int64(i), Type: kind, Order: ref.ID, BaseVersion: 1 + i%3, Reason: "of this test",
				OccurredAt: time.Now(), Hash: []byte(kind), By: "device:board-1",
			})
		}
	}
	for range orders {
		commands = append(commands, &db.Command{ID: uuid.New(), Type: "start", Order: uuid.New(), OccurredAt: time.Now(), Hash: []byte("start"), By: "device:board-1"})
	}
	answers := [2][]db.Changed{make([]db.Changed, len(commands)), make([]db.Changed, len(commands))}
	var all errgroup.Group
	for p, w := range processes {
		for _, i := range rand.Perm(len(commands)) {
			all.Go(func() (err error) {
				answers[p][i], err = w.Command(t.Context(), w.store.ID, commands[i], w.view.Menu)
				return err
			})
		}
		for i, ref := range refs {
			all.Go(func() error {
				_, err := w.Advance(t.Context(), ref, db.CancelByCustomer("customer", ""))
				if isCode(err, db.CodeNotCancellable) {
					return nil
				}
				return err
			})
			all.Go(func() error {
				_, err := w.Place(t.Context(), w.latte(t, "counter", "later "+strconv.Itoa(i)))
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range commands {
		if one, other := answers[0][i].Result, answers[1][i].Result; one != other || one.Result == "" {
			t.Errorf("%s of order %s: %+v from one process, %+v from the other", c.Type, c.Order, one, other)
		}
	}
	checkVersions(t, processes[0], refs)
	if n := deadlocks.Load(); n > 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// TestLateOrderIsSeenElsewhere has an order that waited eight seconds for its place in a group, at a process that told nobody.
func TestLateOrderIsSeenElsewhere(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	silent, other := openTill(t, pool, 0), openTill(t, pool, 0)
	other.runHub(t)
	board := other.hub.WatchBoard(other.store.ID)
	defer board.Close()
	late := silent.latte(t, "counter", "key")
	at := late.Order.PlacedAt.Add(-8 * time.Second)
	late.Order.PlacedAt, late.Order.UpdatedAt, late.Order.Steps[0].At = at, at, at
	placed, err := silent.Place(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if seen, err := board.Next(ctx); err != nil || len(seen) != 1 || seen[0].ID != placed.Order.ID {
		t.Errorf("the board has %v, %v", seen, err)
	}
}

// checkVersions looks at the orders and at all that hangs on them.
func checkVersions(t *testing.T, w *till, refs []db.OrderRef) {
	t.Helper()
	stored, err := db.OrdersByID(context.Background(), w.pool, refs)
	if err != nil || len(stored) != len(refs) {
		t.Fatalf("%d orders of %d: %v", len(stored), len(refs), err)
	}
	for _, o := range stored {
		for i, step := range o.Steps {
			if step.Version != i+1 || (i > 0 && step.At.Before(o.Steps[i-1].At)) {
				t.Errorf("order %s: version %d at %s is step %d", o.ID, step.Version, step.At, i)
			}
		}
		if last := o.Steps[len(o.Steps)-1]; last.Status != o.Status || last.PaymentStatus != o.Payment.Status || o.Version != len(o.Steps) {
			t.Errorf("order %s is %s at version %d, its history ends with %+v", o.ID, o.Status, o.Version, last)
		}
	}
	for _, slot := range texts(t, w.pool, `
    select starts_at || ': ' || taken
    from slots s
    where taken <> (select count(*) from orders o where o.store_id = s.store_id and o.slot_starts_at = s.starts_at and o.status <> 'cancelled')`) {
		t.Errorf("places taken that nobody has: slot %s", slot)
	}
	if n := texts(t, w.pool, `select count(*)::text from commands where result = 'applied' and type in ('start', 'ready')`); n[0] == "0" {
		t.Error("nothing was ever applied")
	}
}
