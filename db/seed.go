package db

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MaxSeed bounds the stores of a seeded database.
const MaxSeed = 100_000

// SeedDemo fills a database without stores with the demo chain; any other it leaves alone.
func SeedDemo(ctx context.Context, pool *pgxpool.Pool) error {
	var stores bool
	if err := pool.QueryRow(ctx, `select exists (select from stores)`).Scan(&stores); err != nil || stores {
		return err
	}
	return Seed(ctx, pool, len(DemoStores()))
}

// Seed makes sure that there are at least n stores, the demo stores first. It can be run again.
func Seed(ctx context.Context, pool *pgxpool.Pool, n int) error {
	if n < 1 || n > MaxSeed {
		return fmt.Errorf("stores must be from 1 to %d", MaxSeed)
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `lock table stores in share row exclusive mode`); err != nil {
			return err
		}
		menu, err := demoMenuID(ctx, tx)
		if err != nil {
			return err
		}
		for _, s := range DemoStores() {
			if _, err := tx.Exec(ctx, `
    insert into stores (slug, name, address, lat, lon, timezone, currency)
    values ($1, $2, $3, $4, $5, $6, 'USD')
    on conflict (slug) do nothing`, s.Slug, s.Name, s.Address, s.Lat, s.Lon, s.Timezone); err != nil {
				return err
			}
		}
		return seedStores(ctx, tx, n, menu)
	})
}

// demoMenuID is the demo chain's menu, made when there is none.
func demoMenuID(ctx context.Context, tx pgx.Tx) (id int32, err error) {
	err = tx.QueryRow(ctx, `
    select coalesce((select min(menu_id) from menus where created_by = 'seed'), 0)`).Scan(&id)
	if err != nil || id != 0 {
		return id, err
	}
	err = tx.QueryRow(ctx, `
    insert into menus (version, content, created_by, created_at)
    values (1, $1, 'seed', clock_timestamp())
    returning menu_id`, DemoMenu).Scan(&id)
	return id, err
}

// seedStores fills up to n stores, spread over North America in a grid, and gives settings to all
// that have none. Those are stamped last: a running catalog looks no further back than catalogOverlap.
func seedStores(ctx context.Context, tx pgx.Tx, n int, menu int32) error {
	_, err := tx.Exec(ctx, `
    insert into stores (slug, name, address, lat, lon, timezone, currency)
    select 'store-' || lpad(i::text, 5, '0'), 'Store ' || i, i || ' Market Street', 25 + i % 240 / 10.0, -122 + i / 240 % 500 / 10.0,
           'America/Los_Angeles', 'USD'
    from generate_series(1, $1 - (select count(*) from stores where slug not like 'store-%')) as i
    on conflict (slug) do nothing`, n)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
    insert into store_settings (store_id, menu_id, hours, updated_at)
    select s.store_id, $1, $2, clock_timestamp()
    from stores s
    where not exists (select from store_settings t where t.store_id = s.store_id)`, menu, AroundTheClock())
	return err
}
