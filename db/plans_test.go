package db_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// statements keeps every SQL text that goes through a pool.
type statements struct {
	mu  sync.Mutex
	all map[string]bool
}

func (s *statements) note(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[sql] = true
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.note(q.SQL)
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, q pgx.TraceBatchQueryData) {
	s.note(q.SQL)
}
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

var (
	bigTable = regexp.MustCompile(`\b(orders|order_history|payments|ledger|refunds|idempotency_keys|commands)\b`)
	// wholeStore is a scan of a big table by nothing, or by nothing but the store.
	wholeStore = regexp.MustCompile(`(?m)Seq Scan on (orders|order_history|payments|ledger|refunds|commands)|` +
		` on (orders|order_history|payments|ledger|refunds|commands)\S* .*\n +Index Cond: \(store_id = [^()]*\)$`)
	// ofSome is a statement about orders that it names, or about those of a store.
	ofSome    = regexp.MustCompile(`unnest\(\$1::int4\[\], \$2::uuid|store_id = (\$1|want\.store_id)`)
	parameter = regexp.MustCompile(`\$[0-9]+`)
)

// planOf is how PostgreSQL carries a statement out whatever its parameters are: the plan that a connection comes to
// use for what it runs often.
func planOf(t *testing.T, pool *pgxpool.Pool, sql string) string {
	t.Helper()
	parameters := 0
	for _, p := range parameter.FindAllString(sql, -1) {
		var n int
		if _, err := fmt.Sscanf(p, "$%d", &n); err != nil {
			t.Fatal(err)
		}
		parameters = max(parameters, n)
	}
	execute := "explain execute planned"
	if parameters > 0 {
		execute += "(" + strings.TrimSuffix(strings.Repeat("null,", parameters), ",") + ")"
	}
	var plan []string
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		// With pruning no month would be left to look at: the parameters are null.
		if _, err := tx.Exec(t.Context(), "set local plan_cache_mode = force_generic_plan; set local enable_partition_pruning = off",
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), "prepare planned as "+sql); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), execute, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		if plan, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), "deallocate planned")
		return err
	})
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	return strings.Join(plan, "\n")
}

// TestPlansOfBigTables goes through all that the program does to orders, and has PostgreSQL explain every
// statement of it on a database with a past.
func TestPlansOfBigTables(t *testing.T) {
	t.Parallel()
	open := openDatabase(t)
	fill(t, open)
	seen := liveThrough(t, open)
	big := bigPartitions(t, open)
	for _, sql := range seen {
		plan := planOf(t, open, sql)
		for _, table := range big {
			if strings.Contains(plan, "Seq Scan on "+table) || ofSome.MatchString(sql) && readsWholeIndex(plan, table) {
				t.Errorf("%s\nreads %s from end to end:\n%s", sql, table, plan)
			}
		}
	}
	if len(seen) < 24 || len(big) < 5 {
		t.Errorf("only %d statements on the big tables %v", len(seen), big)
	}
}

// TestPlansMadeWhileEmpty has the statements planned as they are on the first day of a month, and of the shop: the plan
// is kept while the tables grow, so even then what asks for orders by their ids must not go through all of a store's, and
// what asks for a store's not through all of the chain's.
func TestPlansMadeWhileEmpty(t *testing.T) {
	t.Parallel()
	open := openDatabase(t)
	explained := 0
	for _, sql := range liveThrough(t, open) {
		if !ofSome.MatchString(sql) {
			continue
		}
		explained++
		plan := planOf(t, open, sql)
		if strings.Contains(sql, "unnest($1::int4[], $2::uuid[]") && wholeStore.MatchString(plan) || readsWholeIndex(plan, "") {
			t.Errorf("%s\ngoes through too many orders:\n%s", sql, plan)
		}
	}
	if explained < 9 {
		t.Errorf("only %d statements ask for some orders", explained)
	}
}

// readsWholeIndex says whether a plan looks for nothing in an index of a table, but goes through all of it. However few
// rows a partial index has, until the next vacuum it also has those that left it.
func readsWholeIndex(plan, table string) bool {
	lines := strings.Split(plan+"\n", "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.Contains(line, "Index") && strings.Contains(line, " on "+table) && !strings.Contains(lines[i+1], "Index Cond: ") {
			return true
		}
	}
	return false
}

func openDatabase(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// fill gives a database a past: orders of a month, and the keys and commands of a day.
func fill(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	if err := db.Seed(t.Context(), pool, 200); err != nil {
		t.Fatal(err)
	}
	if err := db.SeedOrders(t.Context(), pool, 20_000); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`insert into idempotency_keys (store_id, route, key, body_hash, order_id, created_at)
		 select 1 + i % 200, 'orders', 'key ' || i, '', gen_random_uuid(), now() - i * interval '4 seconds' from generate_series(1, 20000) i`,
		`insert into commands (store_id, id, by, device_seq, type, content_hash, order_id, result, occurred_at)
		 select 1 + i % 200, gen_random_uuid(), 'device:seed', i, 'start', '', gen_random_uuid(), 'applied', now() from generate_series(1, 20000) i`,
		`insert into refunds (store_id, order_id, n, amount, sales, tax, tip, lines, method, by, status, created_at, updated_at)
		 select store_id, id, 1, 1, 1, 0, 0, '[]', 'card', 'staff:seed', 'done', updated_at, updated_at from orders`,
		`vacuum (analyze) orders, order_history, payments, ledger, refunds, idempotency_keys, commands`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// bigPartitions are the tables that hold the past. The month before this one may be empty, early in a month only it
// is full, so what counts is the number of rows.
func bigPartitions(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
    select relname
    from pg_class
    where relkind = 'r' and reltuples > 1000
        and relname ~ '^(orders|order_history|payments|ledger|refunds|idempotency_keys|commands)(_[0-9]{4}_[0-9]{2})?$'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// liveThrough does to orders all that can be done to them, and returns the statements on big tables that it took.
func liveThrough(t *testing.T, open *pgxpool.Pool) []string {
	t.Helper()
	ctx := t.Context()
	config := open.Config()
	seen := &statements{all: map[string]bool{}}
	config.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := openTill(t, pool, 0)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	place := func(key string) db.OrderRef {
		t.Helper()
		placed, err := w.Place(ctx, w.latte(t, "card", key))
		must(err)
		if placed.Order == nil {
			return db.OrderRef{StoreID: w.store.ID, ID: placed.Replay.OrderID}
		}
		return placed.Order.Ref()
	}
	limit := 1000
	_, err = pool.Exec(ctx, `update store_settings set slot_limit = $2 where store_id = $1`, w.store.ID, limit)
	must(err)

	ref := place("life")
	place("life")
	failed := func(ref db.OrderRef, attempt int) {
		_, err := w.Settle(ctx, ref, db.Settle(db.Charged{Attempt: attempt, Status: db.Failed, Failure: "card_declined"}))
		must(err)
	}
	failed(ref, 1)
	_, err = w.PayAgain(ctx, ref, "tok_visa", "customer", "again", []byte("hash"), time.Second)
	must(err)
	_, err = w.Settle(ctx, ref, db.Settle(db.Charged{Attempt: 2, Status: db.Captured, Ref: "ref"}))
	must(err)
	for i, kind := range []string{"seen", "start", "ready", "collect"} {
		command := &db.Command{ID: uuid.New(), DeviceSeq: int64(i), Type: kind, Order: ref.ID, OccurredAt: time.Now(), Hash: []byte("hash"), By: "device:1"}
		changed, err := w.Command(ctx, ref.StoreID, command, w.view.Menu)
		must(err)
		if changed.Result.Result != "applied" {
			t.Fatalf("%s: %+v", kind, changed.Result)
		}
	}
	cancelled := place("cancelled")
	_, err = w.Advance(ctx, cancelled, db.CancelByCustomer("customer", ""))
	must(err)
	_, err = w.Place(ctx, w.latte(t, "counter", "at the counter"))
	must(err)
	half, err := w.Advance(ctx, ref, db.GiveBack(db.RefundRequest{Lines: []db.LineUnits{{Line: 0, Quantity: 1}}, Reason: "cold"}, "staff:mia"))
	must(err)
	_, err = w.Settle(ctx, ref, db.RefundFailed(1, 1, "expired_card"))
	must(err)
	_, err = w.AdvanceAudited(ctx, ref, db.RefundByHand(1, "staff:mia", "cash"), "staff:mia", "refund.by_hand", nil)
	must(err)
	if half.Payment.Status != db.RefundPending {
		t.Fatalf("the payment is %s", half.Payment.Status)
	}
	_, err = w.Current(ctx, ref)
	must(err)
	_, err = w.ReplayOf(ctx, ref.StoreID, "life", []byte("hash"))
	must(err)
	readThrough(t, pool, ref)
	relaying, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	must(db.NewHub(pool).Run(relaying))
	catalog, err := db.OpenCatalog(ctx, pool)
	must(err)
	must(catalog.Patch(ctx, w.store, db.StorePatch{SlotMinutes: new(30)}, "test"))
	return slices.DeleteFunc(slices.Collect(maps.Keys(seen.all)), func(sql string) bool { return !bigTable.MatchString(sql) })
}

// readThrough reads orders in every way there is.
func readThrough(t *testing.T, pool *pgxpool.Pool, ref db.OrderRef) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	_, errList := db.ListOrders(ctx, pool, ref.StoreID, db.OrderFilter{Status: db.PickedUp, From: now.AddDate(0, 0, -20), To: now, Limit: 50})
	_, errFind := db.FindOrder(ctx, pool, ref.StoreID, 1, now.AddDate(0, 0, -1), now)
	_, errStoreOf := db.StoreOfOrder(ctx, pool, ref.ID)
	_, errBoard := db.BoardOrders(ctx, pool, ref.StoreID)
	_, errWait := db.WaitMinutes(ctx, pool, []*db.Store{{ID: ref.StoreID}})
	_, errCharges := db.ChargesOf(ctx, pool, []db.OrderRef{ref})
	_, errIntents := db.StoreIntents(ctx, pool, []*db.Charge{{OrderRef: ref, Attempt: 1, Intent: "intent"}})
	errMoveOn := db.MoveOn(ctx, pool, &db.Charge{OrderRef: ref, Attempt: 1})
	_, errCharging := db.StuckCharges(ctx, pool, now, 100)
	_, errRefunding := db.StuckRefunds(ctx, pool, now, 100)
	_, errOverdue := db.Overdue(ctx, pool, now, []db.Status{db.PaymentPending}, 100)
	_, errStory := db.Story(ctx, pool, ref)
	_, errPrune := db.PruneKeys(ctx, pool, 30*time.Hour, 100)
	_, errAsked := db.RefundsAsked(ctx, pool, ref)
	_, errFailed := db.FailedRefunds(ctx, pool, uuid.Nil, 0, 50)
	_, errCount := db.CountFailedRefunds(ctx, pool, 50)
	_, errClaim := db.ClaimNotification(ctx, pool, db.Notification{StoreID: ref.StoreID, Subject: ref.ID, Kind: "order_ready", Channel: "email", Address: "ada@example.com"})
	errs := []error{errClaim, errIntents, errMoveOn, errAsked, errFailed, errCount, errList, errFind, errStoreOf, errBoard, errWait, errCharges, errCharging, errRefunding, errOverdue, errStory, errPrune}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		t.Fatal(errs[i])
	}
}
