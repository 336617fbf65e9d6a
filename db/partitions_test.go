package db_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// bounds are the partitions of a table by time, oldest first, as "from to" of order ids.
func bounds(t *testing.T, q db.Querier, table string) []string {
	t.Helper()
	return texts(t, q, `
    select array_to_string(regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.+)'\) TO \('(.+)'\)$$), ' ')
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = $1::regclass
    order by 1`, table)
}

func TestEveryHistoryHasPartitionsForNow(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	tables := texts(t, tx, `select partrelid::regclass::text from pg_partitioned_table order by 1`)
	if !slices.Equal(tables, []string{"ledger", "order_history", "orders", "payments", "refunds"}) {
		t.Fatalf("partitioned are %v", tables)
	}
	want := bounds(t, tx, "orders")
	for _, table := range tables {
		got := bounds(t, tx, table)
		if !slices.Equal(got, want) { // or old partitions of both cannot go together
			t.Errorf("%s is parted at %v, orders at %v", table, got, want)
		}
		for _, days := range []int{0, 31, 59} {
			at := time.Now().AddDate(0, 0, days)
			if floor := uuidAt(at); !slices.ContainsFunc(got, func(b string) bool { return b[:36] <= floor && floor < b[37:] }) {
				t.Errorf("%s has no partition for %s", table, at.Format(time.DateOnly))
			}
		}
	}
}

// uuidAt is the lowest UUIDv7 of a moment, made another way than in SQL.
func uuidAt(at time.Time) string {
	hex := fmt.Sprintf("%012x", at.UnixMilli())
	return hex[:8] + "-" + hex[8:] + "-0000-0000-000000000000"
}

// TestNobodyStudiesSnapshots holds for the months to come as well: to sort a sample of them takes a second and a half.
func TestNobodyStudiesSnapshots(t *testing.T) {
	t.Parallel()
	inTransaction(t, func(tx pgx.Tx) {
		if _, err := tx.Exec(t.Context(), `select ensure_partitions('2031-10-31T23:30:00Z', 2)`); err != nil {
			t.Fatal(err)
		}
		columns := texts(t, tx, `
    select a.attrelid::regclass || '.' || a.attname || ': ' || a.attstattarget
    from pg_attribute a
    where (a.attrelid = 'orders'::regclass or a.attrelid in (select inhrelid from pg_inherits where inhparent = 'orders'::regclass))
      and a.atttypid = 'jsonb'::regtype`)
		for _, column := range columns {
			if !strings.HasSuffix(column, ": 0") {
				t.Errorf("statistics are kept of %s", column)
			}
		}
		if len(columns) < 12 {
			t.Errorf("only %v are JSON", columns)
		}
	})
}

// TestPartitionsFollowOneAnother goes over the end of a year, in a session far from UTC, and twice.
func TestPartitionsFollowOneAnother(t *testing.T) {
	t.Parallel()
	inTransaction(t, func(tx pgx.Tx) {
		for range 2 {
			if _, err := tx.Exec(t.Context(), `set local timezone = 'Pacific/Auckland'`); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `select ensure_partitions('2031-10-31T23:30:00Z', 5)`); err != nil {
				t.Fatal(err)
			}
		}
		var months []string
		for month := time.October; month <= time.October+5; month++ {
			months = append(months, uuidAt(time.Date(2031, month, 1, 0, 0, 0, 0, time.UTC)))
		}
		for _, table := range []string{"orders", "order_history", "payments", "ledger", "refunds"} {
			got := bounds(t, tx, table)
			got = got[len(got)-5:]
			for i, bound := range got {
				if bound != months[i]+" "+months[i+1] {
					t.Errorf("partition %d of %s is %s", i, table, bound)
				}
			}
		}
	})
}

// TestMonthsBesideReaders makes a month while somebody reads all the others, as a dump does for hours. Who waited for its
// end would have everybody else wait behind him.
func TestMonthsBesideReaders(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	dump, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dump.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := dump.Exec(t.Context(), `lock orders, order_history, payments, ledger, refunds in access share mode`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `select ensure_partitions('2031-10-31T23:30:00Z', 2)`); err != nil {
		t.Error(err)
	}
}

func TestUUIDFloor(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), time.Date(2026, 11, 23, 20, 0, 0, 123_000_000, time.UTC), time.Date(2099, 12, 31, 23, 59, 59, 999_000_000, time.UTC)} {
		if got := texts(t, tx, `select uuid_floor($1)::text`, at); got[0] != uuidAt(at) {
			t.Errorf("uuid_floor(%s) is %s, want %s", at, got[0], uuidAt(at))
		}
	}
	before := time.Now().Add(-2 * time.Millisecond)
	if id := uuid.Must(uuid.NewV7()).String(); id < uuidAt(before) || id > uuidAt(time.Now().Add(2*time.Millisecond)) {
		t.Errorf("the order id %s does not lie at its time", id)
	}
}

// plan is a node of what EXPLAIN says in JSON.
type plan struct {
	Relation string  `json:"Relation Name"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []plan
}

// touched adds the tables that were really read.
func (p plan) touched(to map[string]bool) {
	if p.Relation != "" && p.Loops > 0 {
		to[p.Relation] = true
	}
	for _, child := range p.Plans {
		child.touched(to)
	}
}

// spy keeps the last query of a connection.
type spy struct {
	sql  string
	args []any
}

func (s *spy) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.sql, s.args = data.SQL, data.Args
	return ctx
}

func (s *spy) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// explained is what the last query of the package touches when it is planned without knowing its parameters,
// as PostgreSQL does for a prepared statement from the sixth time on.
func explained(t *testing.T, conn *pgx.Conn, s *spy) map[string]bool {
	t.Helper()
	sql, args := s.sql, make([]string, len(s.args))
	for i, arg := range s.args {
		args[i] = "'" + strings.NewReplacer("[", "{", "]", "}", " ", ",").Replace(fmt.Sprint(arg)) + "'"
	}
	if _, err := conn.Prepare(t.Context(), "explained", sql); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Deallocate(context.Background(), "explained") }()
	if _, err := conn.Exec(t.Context(), `set plan_cache_mode = force_generic_plan`); err != nil {
		t.Fatal(err)
	}
	var out []byte
	err := conn.QueryRow(t.Context(), `explain (analyze, costs off, timing off, format json) execute explained (`+strings.Join(args, ", ")+`)`,
		pgx.QueryExecModeSimpleProtocol).Scan(&out)
	if err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan plan }
	if err := json.Unmarshal(out, &plans); err != nil {
		t.Fatal(err)
	}
	touched := map[string]bool{}
	plans[0].Plan.touched(touched)
	return touched
}

// spyOn connects to a database of its own, with partitions of a year more and orders in all of them.
func spyOn(t *testing.T) (*pgx.Conn, *spy) {
	t.Helper()
	config, err := pgx.ParseConfig(dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	s := new(spy)
	config.Tracer = s
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, sql := range []string{
		`select ensure_partitions('2031-01-01T00:00:00Z', 12)`,
		`
    insert into orders (store_id, id, number, status, fulfilment, snapshot, total, payment_method, payment_status, updated_at)
    select 1, overlay(uuid_floor(at)::text placing '7' from 15)::uuid, 1, 'picked_up', 'pickup', '{}', 100, 'card', 'captured', at
    from generate_series('2031-01-01T00:00:00Z'::timestamptz, '2031-12-31T00:00:00Z', '30 minutes') as at`,
		`
    insert into order_history (store_id, order_id, version, status, payment_status, by, at, origin)
    select store_id, id, 1, status, payment_status, 'customer', updated_at, 0 from orders`,
		`analyze orders, order_history`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn, s
}

func TestReadingOrdersTouchesOnePartition(t *testing.T) {
	t.Parallel()
	conn, s := spyOn(t)
	want := map[string]bool{"orders_2031_07": true, "order_history_2031_07": true, "stores": true}
	day := func(n int) time.Time { return time.Date(2031, 7, n, 0, 0, 0, 0, time.UTC) }
	week, err := db.ListOrders(t.Context(), conn, 1, db.OrderFilter{From: day(2), To: day(9), Limit: 50})
	if err != nil || len(week) != 50 {
		t.Fatalf("%d orders, %v", len(week), err)
	}
	if touched := explained(t, conn, s); !maps.Equal(touched, want) {
		t.Errorf("a week of orders touches %v, want %v", touched, want)
	}
	if _, err := db.OrderByID(t.Context(), conn, week[9].Ref()); err != nil {
		t.Fatal(err)
	}
	if touched := explained(t, conn, s); !maps.Equal(touched, want) {
		t.Errorf("reading an order touches %v, want %v", touched, want)
	}
	if _, err := db.OrdersByID(t.Context(), conn, []db.OrderRef{week[0].Ref(), week[20].Ref()}); err != nil {
		t.Fatal(err)
	}
	if touched := explained(t, conn, s); !maps.Equal(touched, want) {
		t.Errorf("reading two orders touches %v, want %v", touched, want)
	}
}

// TestMonthTakenOut takes out the month of the oldest order as README says.
func TestMonthTakenOut(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	if err := db.SeedOrders(t.Context(), pool, 2000); err != nil {
		t.Fatal(err)
	}
	var suffix string
	var all, gone, left int
	if err := pool.QueryRow(t.Context(), `
    select right(oldest, 8), count(*), count(*) filter (where month = oldest)
    from (select tableoid::regclass::text as month, min(tableoid::regclass::text) over () as oldest from orders) o
    group by oldest`).Scan(&suffix, &all, &gone); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"refunds", "ledger", "payments", "order_history", "orders"} {
		month := table + suffix
		for _, step := range []string{"alter table " + table + " detach partition " + month + " concurrently", "drop table " + month} {
			if _, err := pool.Exec(t.Context(), step); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
	}
	if err := pool.QueryRow(t.Context(), `select count(*) from orders`).Scan(&left); err != nil || gone == 0 || left != all-gone {
		t.Errorf("of %d orders, %d of them in that month, %d are left, %v", all, gone, left, err)
	}
}
