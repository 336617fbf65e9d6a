package main

import (
	"fmt"
	"strings"
)

// placingSQL is the placing of a group as the shop writes it: keys, settings, counters, orders, their history, their
// payments and one job; then the intents that the job stores, and the move that records the charges. What River does to
// work the job is not part of it. First it draws the orders, which a server knows already; they go to the statements as
// arrays.
// (To pgbench a colon before a letter begins a variable, in texts too.)
var placingSQL = fmt.Sprintf(`
select array_agg(store_id)::text as stores, array_agg(id)::text as ids, array_agg(key)::text as keys,
       min(snapshot) as snapshot, min(total) as total
from (select store_id, %s as id, gen_random_uuid()::text as key, snapshot, total
      from (select 1 + floor(random() * :stores_most)::int4 as store_id, i from generate_series(1, %d) i) as drawn, bench_model
      order by store_id, id) as o
\gset

begin;

insert into idempotency_keys (store_id, route, key, body_hash, order_id, wait_until)
select store_id, 'orders', key, sha256(key::bytea), id, null
from unnest(:stores::int4[], :keys::text[], :ids::uuid[]) as v (store_id, key, id)
order by store_id, key collate "C"
on conflict do nothing
returning store_id, route, key;

select pg_advisory_xact_lock_shared(331893, store_id)
from (select distinct store_id from unnest(:stores::int4[]) as v (store_id) order by store_id) as in_order;

select store_id, paused_until, slot_minutes, slot_limit, prep_minutes
from store_settings
where store_id = any(:stores::int4[]);

insert into order_counters as c (store_id, day, last)
select store_id, current_date, count(*)
from unnest(:stores::int4[]) as v (store_id)
group by store_id
order by store_id
on conflict (store_id, day) do update set last = c.last + excluded.last
returning store_id, day, last;

insert into orders (store_id, id, number, status, fulfilment, pickup_at, slot_starts_at, ready_estimate,
                    snapshot, contact, total, payment_method, payment_status, attempt, updated_at)
select store_id, id, 1, 'payment_pending', 'pickup', null, null, now() + interval '5 minutes',
       :snapshot::text::jsonb, null, :total::int8, 'card', 'pending', 1, now()
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id);

insert into order_history (store_id, order_id, version, status, payment_status, by, reason, at, origin)
select store_id, id, 1, 'payment_pending', 'pending', 'customer', null, now(), 1
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id);

insert into payments (store_id, order_id, attempt, amount, token, status, created_at, updated_at)
select store_id, id, 1, :total::int8, 'tok_visa', 'pending', now(), now()
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id);

insert into river_job (args, kind, max_attempts, priority, queue, state, scheduled_at, tags)
select jsonb_build_object('orders', string_agg(store_id || '/' || id, ' ')), 'charge', 10, 1, 'charge', 'available', now(), '{}'
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id)
returning id;

commit;
`, newID("clock_timestamp()"), groupOrders) + intentSQL + moveSQL("payment_pending", 1, "placed", "payment")

const intentSQL = `
update payments p
set provider_ref = v.intent
from unnest(:stores::int4[], :ids::uuid[]) as k (store_id, order_id)
cross join lateral (select 'pi_bench_' || k.order_id as intent) as v
join orders o on o.store_id = k.store_id and o.id = k.order_id
where p.store_id = k.store_id and p.order_id = k.order_id and p.attempt = 1
  and (p.status || '') in ('pending', 'unknown') and p.provider_ref is null and o.status = 'payment_pending' and o.attempt = 1
returning p.store_id, p.order_id;
`

// movesSQL is what follows until the orders are handed over: one transaction for each of the three moves of a group.
var movesSQL = moveSQL("placed", 2, "in_progress", "bench") + moveSQL("in_progress", 3, "ready", "bench") + moveSQL("ready", 4, "picked_up", "bench")

func moveSQL(was string, version int, status, by string) string {
	also := commandSQL
	if was == "payment_pending" {
		also = settleSQL
	}
	return strings.NewReplacer("{was}", was, "{version}", fmt.Sprint(version), "{status}", status, "{by}", by).Replace(`
begin;

select o.store_id, o.id, o.version, o.slot_starts_at, o.seen_at is not null
from unnest(:stores::int4[], :ids::uuid[]) as want (store_id, id)
join orders o on o.store_id = want.store_id and o.id = want.id
order by o.store_id, o.id
for no key update of o;

update orders o
set status = '{status}', version = {version} + 1, payment_status = 'captured', attempt = 1, captured = :total::int8, refunded = 0,
    failure = null, holder = 'bench', updated_at = now()
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id)
where o.store_id = v.store_id and o.id = v.id and o.status = '{was}' and o.version = {version};

insert into order_history (store_id, order_id, version, status, payment_status, by, reason, at, origin)
select store_id, id, {version} + 1, '{status}', 'captured', '{by}', null, now(), 1
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id);
` + also + `
commit;
`)
}

const settleSQL = `
update payments p
set status = 'captured', updated_at = now(), token = null
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, order_id)
where p.store_id = v.store_id and p.order_id = v.order_id and p.attempt = 1 and p.status <> 'failed';

insert into ledger (store_id, order_id, version, kind, card, till, sales, tax, tips, at)
select store_id, id, {version} + 1, 'capture', :total::int8, 0, -:total::int8, 0, 0, now()
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id);
`

const commandSQL = `
insert into commands (store_id, id, by, device_seq, type, content_hash, order_id, result, reason, holder, occurred_at)
select store_id, gen_random_uuid(), '{by}', 1, '{status}', sha256(id::text::bytea), id, 'applied', null, null, now()
from unnest(:stores::int4[], :ids::uuid[]) as v (store_id, id)
order by store_id
on conflict do nothing;
`
