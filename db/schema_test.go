package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// texts are the rows of a query with one column of text.
func texts(t *testing.T, q db.Querier, sql string, args ...any) []string {
	t.Helper()
	rows, err := q.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ownTables are our tables without their partitions, as schema.table.
const ownTables = `
    select c.oid, n.nspname || '.' || c.relname as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname = 'public' and c.relname <> 'goose_db_version'`

func TestEveryTableHasAComment(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	if tables := texts(t, tx, `select name from (`+ownTables+`) as tables`); len(tables) < 20 {
		t.Fatalf("only %v", tables)
	}
	for _, table := range texts(t, tx, `
    select name from (`+ownTables+`) as tables where coalesce(obj_description(oid, 'pg_class'), '') = ''`) {
		t.Errorf("%s has no comment", table)
	}
}

// storeOwned are the tables whose rows belong to a store. The directory of stores itself is reference data,
// which every shard has a copy of.
func storeOwned(t *testing.T, q db.Querier) []string {
	t.Helper()
	return texts(t, q, `
    select c.relname
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'store_id'
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace and c.relname <> 'stores'
    order by c.relname`)
}

// TestEveryKeyNamesItsStore is what lets the tables be spread over machines by store.
func TestEveryKeyNamesItsStore(t *testing.T) {
	t.Parallel()
	tx := dbtest.Tx(t)
	tables := storeOwned(t, tx)
	for _, table := range []string{"orders", "order_history", "payments", "ledger", "refunds", "idempotency_keys", "devices", "commands", "slots", "store_settings"} {
		if !slices.Contains(tables, table) {
			t.Errorf("%s has no store_id", table)
		}
	}
	for _, key := range texts(t, tx, `
    select i.indexrelid::regclass::text
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'store_id'
    where i.indisunique and a.attnum <> all((i.indkey::int2[])[0:i.indnkeyatts - 1]) and i.indrelid::regclass::text = any($1)`, tables) {
		t.Errorf("the key %s is without store_id", key)
	}
	for _, key := range texts(t, tx, `
    select k.conrelid::regclass || ': ' || pg_get_constraintdef(k.oid)
    from pg_constraint k
    join pg_attribute a on a.attrelid = k.conrelid and a.attname = 'store_id'
    join pg_attribute f on f.attrelid = k.confrelid and f.attname = 'store_id'
    where k.contype = 'f' and k.conrelid::regclass::text = any($1)
      and (array_position(k.conkey, a.attnum) is null or array_position(k.conkey, a.attnum) is distinct from array_position(k.confkey, f.attnum))`, tables) {
		t.Errorf("a foreign key leaves its store: %s", key)
	}
	for _, table := range texts(t, tx, `
    select c.oid::regclass::text
    from pg_class c
    where c.oid::regclass::text = any($1) and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`, tables) {
		t.Errorf("%s has no primary key", table)
	}
}

// spread makes copies of tables in a schema of their own, partitioned by hash of the store as they would be on
// several machines, with all keys of the originals. PostgreSQL refuses what cannot be.
func spread(ctx context.Context, tx pgx.Tx, tables []string) error {
	if _, err := tx.Exec(ctx, `create schema spread`); err != nil {
		return err
	}
	for _, table := range tables {
		name := pgx.Identifier{table}.Sanitize()
		if _, err := tx.Exec(ctx, fmt.Sprintf(`
    create table spread.%[1]s (like public.%[1]s including defaults including generated including identity) partition by hash (store_id)`, name)); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		for i := range 2 {
			part := pgx.Identifier{fmt.Sprintf("%s_%d", table, i)}.Sanitize()
			if _, err := tx.Exec(ctx, fmt.Sprintf(`
    create table spread.%s partition of spread.%s for values with (modulus 2, remainder %d)`, part, name, i)); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
	}
	// Keys first, foreign keys last: they need what they point at. Unqualified names now mean the copies.
	rows, err := tx.Query(ctx, `
    select ddl
    from (
        select case contype when 'f' then 3 else 1 end as stage,
               format('alter table spread.%I add %s', conrelid::regclass::text, pg_get_constraintdef(oid)) as ddl
        from pg_constraint
        where contype in ('p', 'u', 'f') and conrelid::regclass::text = any($1) and conparentid = 0
        union all
        select 2, regexp_replace(pg_get_indexdef(i.indexrelid), ' ON (ONLY )?public\.', ' ON spread.')
        from pg_index i
        where i.indisunique and i.indrelid::regclass::text = any($1)
          and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
    ) as keys
    order by stage, ddl`, tables)
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(keys) < len(tables) {
		return fmt.Errorf("only %d keys of %d tables", len(keys), len(tables))
	}
	if _, err := tx.Exec(ctx, `set local search_path = spread, public`); err != nil {
		return err
	}
	for _, ddl := range keys {
		if _, err := tx.Exec(ctx, ddl); err != nil {
			return fmt.Errorf("%s: %w", ddl, err)
		}
	}
	return nil
}

// inTransaction runs fn in a transaction of its own, which is rolled back.
func inTransaction(t *testing.T, fn func(tx pgx.Tx)) {
	t.Helper()
	pool := dbtest.Database(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	fn(tx)
}

func TestTablesCanBeSpreadByStore(t *testing.T) {
	t.Parallel()
	inTransaction(t, func(tx pgx.Tx) {
		tables := storeOwned(t, tx)
		if err := spread(t.Context(), tx, tables); err != nil {
			t.Fatal(err)
		}
		foreign := texts(t, tx, `
    select c.relname || ' -> ' || f.relnamespace::regnamespace || '.' || f.relname
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    join pg_class f on f.oid = k.confrelid
    where k.contype = 'f' and k.conparentid = 0 and c.relnamespace = 'spread'::regnamespace
    order by 1`)
		want := []string{"availability -> public.stores", "devices -> public.stores", "refunds -> spread.orders", "store_settings -> public.stores"}
		if !slices.Equal(foreign, want) {
			t.Errorf("the copies point at %v, want %v", foreign, want)
		}
	})
}

// TestSpreadingRefusesAKeyWithoutItsStore shows that the test above can fail.
func TestSpreadingRefusesAKeyWithoutItsStore(t *testing.T) {
	t.Parallel()
	for name, ddl := range map[string]string{
		"primary key":  `create table public.bad (store_id int4 not null, id uuid primary key)`,
		"unique key":   `create table public.bad (store_id int4, id uuid, code text unique, primary key (store_id, id))`,
		"unique index": `create table public.bad (store_id int4, id uuid, code text, primary key (store_id, id)); create unique index on public.bad (code) where code <> ''`,
		"foreign key": `create table public.good (store_id int4, id uuid, n int4, primary key (store_id, id));
    create unique index on public.good (id);
    create table public.bad (store_id int4, id uuid, good uuid references public.good (id), primary key (store_id, id))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTransaction(t, func(tx pgx.Tx) {
				if _, err := tx.Exec(t.Context(), ddl); err != nil {
					t.Fatal(err)
				}
				err := spread(t.Context(), tx, storeOwned(t, tx))
				var refused *pgconn.PgError
				if !errors.As(err, &refused) || (refused.Code != "0A000" && refused.Code != "42830") || !strings.Contains(err.Error(), "bad") && !strings.Contains(err.Error(), "good") {
					t.Errorf("got %v, want a key refused", err)
				}
			})
		})
	}
}
