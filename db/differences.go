package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Seen is what the provider's books say of a time.
type Seen struct {
	Charges []SeenCharge
	Refunds []SeenRefund
}

// SeenCharge is an attempt to charge an order.
type SeenCharge struct {
	Intent string
	OrderRef
	Attempt  int
	Received int64 // 0: nothing was taken
}

// SeenRefund is what the provider gave back of a charge.
type SeenRefund struct {
	Refund, Intent string
	OrderRef
	Amount int64
}

// Suspect is a charge about which the provider's books and ours may not agree.
type Suspect struct {
	Intent string
	OrderRef
	Attempt int
}

// chargedStates are those of a payment that took the money.
const chargedStates = `('captured', 'refund_pending', 'refunded', 'partially_refunded')`

// seenTables are filled row by row with COPY: the 60,000 charges of a rush's minute, sent as arrays, would first be copied
// column by column in memory.
const seenTables = `
    create temp table seen (intent text, store_id int4, order_id uuid, attempt int4, received int8) on commit drop;
    create temp table given (refund text, store_id int4, order_id uuid, intent text, amount int8) on commit drop`

// suspectsQuery takes away what both sides have by sorting (distinct on): the two temporary tables have no statistics, and a
// plan for a few rows would go through all of them for each of ours.
const suspectsQuery = `
    with charged as (
        select distinct on (intent) intent, store_id, order_id, attempt
        from (
            select p.provider_ref, p.store_id, p.order_id, p.attempt
            from payments p
            where p.created_at >= $1 and p.created_at < $2 and p.status in ` + chargedStates + ` and p.provider_ref like 'pi\_%'
            union all
            select intent, null, null, null
            from seen
            where received > 0) as v (intent, store_id, order_id, attempt)
        order by intent, store_id nulls first
    ), refunded as (
        select distinct on (store_id, order_id) intent, store_id, order_id, attempt
        from (
            select p.provider_ref, p.store_id, p.order_id, p.attempt
            from order_history h
            join payments p on p.store_id = h.store_id and p.order_id = h.order_id and p.status in ('refunded', 'partially_refunded') and p.provider_ref like 'pi\_%'
            where h.at >= $1 and h.at < $2 and h.payment_status in ('refunded', 'partially_refunded')
            union all
            select null, store_id, order_id, null
            from given) as v (intent, store_id, order_id, attempt)
        order by store_id, order_id, intent nulls first
    ), done as (
        select distinct on (store_id, order_id, refund) intent, store_id, order_id, attempt
        from (
            select r.provider_ref, p.provider_ref, p.store_id, p.order_id, p.attempt
            from order_history h
            join refunds r on r.store_id = h.store_id and r.order_id = h.order_id and r.updated_at = h.at and r.method = 'card' and r.status = 'done'
            join payments p on p.store_id = h.store_id and p.order_id = h.order_id and p.status in ` + chargedStates + ` and p.provider_ref like 'pi\_%'
            where h.at >= $1 and h.at < $2 and h.payment_status in ('refund_pending', 'refunded', 'partially_refunded')
            union all
            select refund, null, store_id, order_id, null
            from given) as v (refund, intent, store_id, order_id, attempt)
        order by store_id, order_id, refund, intent nulls first
    )
    select s.intent, s.store_id, s.order_id, s.attempt
    from seen s
    left join payments p on p.store_id = s.store_id and p.order_id = s.order_id and p.attempt = s.attempt
    where s.received > 0 and (p.amount is distinct from s.received or p.provider_ref is distinct from s.intent or p.status not in ` + chargedStates + `)
    union
    select intent, store_id, order_id, attempt from charged where store_id is not null
    union
    select p.provider_ref, p.store_id, p.order_id, p.attempt
    from given g
    join payments p on p.store_id = g.store_id and p.order_id = g.order_id and p.provider_ref = g.intent
    where not exists (
        select from refunds r
        where r.store_id = g.store_id and r.order_id = g.order_id and r.provider_ref = g.refund and r.amount = g.amount and r.status = 'done')
    union
    select intent, store_id, order_id, attempt from refunded where intent is not null
    union
    select intent, store_id, order_id, attempt from done where intent is not null
    limit $3`

// Suspects compares what the provider says of a time with our books, both ways, and gives at most limit charges
// that have to be looked at. Ours are those of the time given; the provider's may be of a little more.
func Suspects(ctx context.Context, pool *pgxpool.Pool, seen *Seen, from, until time.Time, limit int) (suspects []Suspect, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := sendSeen(ctx, tx, seen); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, suspectsQuery, from, until, limit)
		if err != nil {
			return err
		}
		suspects, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Suspect])
		return err
	})
	return suspects, err
}

func sendSeen(ctx context.Context, tx pgx.Tx, seen *Seen) error {
	if _, err := tx.Exec(ctx, seenTables); err != nil {
		return err
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"seen"}, []string{"intent", "store_id", "order_id", "attempt", "received"},
		pgx.CopyFromSlice(len(seen.Charges), func(i int) ([]any, error) {
			c := &seen.Charges[i]
			return []any{c.Intent, c.StoreID, c.ID, c.Attempt, c.Received}, nil
		}))
	if err != nil {
		return err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"given"}, []string{"refund", "store_id", "order_id", "intent", "amount"},
		pgx.CopyFromSlice(len(seen.Refunds), func(i int) ([]any, error) {
			r := &seen.Refunds[i]
			return []any{r.Refund, r.StoreID, r.ID, r.Intent, r.Amount}, nil
		}))
	return err
}

// BookedCharge is what our books say of one attempt to charge an order.
type BookedCharge struct {
	Status    PaymentStatus
	Intent    string
	Amount    int64
	Refunded  int64 // of the order, by the provider: what was handed over the counter is none of its business
	Asked     int64 // of it, without an answer yet
	UpdatedAt time.Time
}

// Charged tells whether the attempt took the money.
func (b *BookedCharge) Charged() bool {
	return b.Status == Captured || b.Status == RefundPending || b.Status == Refunded || b.Status == PartiallyRefunded
}

// BookedChargeOf is one attempt, nil if there is none.
func BookedChargeOf(ctx context.Context, q Querier, ref OrderRef, attempt int) (*BookedCharge, error) {
	b := new(BookedCharge)
	err := q.QueryRow(ctx, `
    select p.status, coalesce(p.provider_ref, ''), p.amount, o.refunded - r.till, r.asked, p.updated_at
    from payments p
    join orders o on o.store_id = p.store_id and o.id = p.order_id
    cross join lateral (
        select coalesce(sum(amount) filter (where method = 'till'), 0)::int8 as till,
               coalesce(sum(amount) filter (where status = 'pending'), 0)::int8 as asked
        from refunds
        where store_id = p.store_id and order_id = p.order_id
    ) as r
    where p.store_id = $1 and p.order_id = $2 and p.attempt = $3`, ref.StoreID, ref.ID, attempt).
		Scan(&b.Status, &b.Intent, &b.Amount, &b.Refunded, &b.Asked, &b.UpdatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

// Difference is one point in which the provider's books and ours do not agree.
type Difference struct {
	Kind      string    `json:"kind"`
	Ref       string    `json:"ref"`      // the intent
	Order     string    `json:"order"`    // as the provider's books name it; empty if they name none
	Ours      int64     `json:"ours"`     // in the currency's minor unit
	Provider  int64     `json:"provider"` // likewise
	Words     string    `json:"words"`    // what is the matter
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// KeepDifferences takes note of what was found about the charges that were looked at, resolves what was not found
// again, and gives those that are new.
func KeepDifferences(ctx context.Context, pool *pgxpool.Pool, looked []string, found []Difference) (fresh []Difference, err error) {
	var kinds, refs, orders, words []string
	var ours, providers []int64
	for _, d := range found {
		kinds, refs, orders, words = append(kinds, d.Kind), append(refs, d.Ref), append(orders, d.Order), append(words, d.Words)
		ours, providers = append(ours, d.Ours), append(providers, d.Provider)
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
    with found as (
        select distinct on (kind, ref) kind, ref, order_ref, ours, provider, words
        from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::text[]) as v (kind, ref, order_ref, ours, provider, words)
        order by kind, ref
    ), open as (
        select d.kind, d.ref
        from payment_differences d
        join found using (kind, ref)
        where d.resolved_at is null
    ), kept as (
        insert into payment_differences as d (kind, ref, order_ref, ours, provider, words)
        select kind, ref, order_ref, ours, provider, words
        from found
        on conflict (kind, ref) do update
        set order_ref = excluded.order_ref, ours = excluded.ours, provider = excluded.provider, words = excluded.words, last_seen = now(),
            first_seen = case when d.resolved_at is null then d.first_seen else now() end, resolved_at = null
        returning d.kind, d.ref, d.order_ref, d.ours, d.provider, d.words, d.first_seen, d.last_seen
    )
    select kept.kind, kept.ref, kept.order_ref, kept.ours, kept.provider, kept.words, kept.first_seen, kept.last_seen
    from kept
    where not exists (select from open where open.kind = kept.kind and open.ref = kept.ref)`, kinds, refs, orders, ours, providers, words)
		if err != nil {
			return err
		}
		if fresh, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Difference]); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
    update payment_differences d
    set resolved_at = now()
    where d.resolved_at is null and d.ref = any($1)
      and not exists (select from unnest($2::text[], $3::text[]) as v (kind, ref) where v.kind = d.kind and v.ref = d.ref)`, looked, kinds, refs)
		return err
	})
	return fresh, err
}

// OpenDifferences are those that the last look found, the oldest first, at most limit.
func OpenDifferences(ctx context.Context, q Querier, limit int) ([]Difference, error) {
	rows, err := q.Query(ctx, `
    select kind, ref, order_ref, ours, provider, words, first_seen, last_seen
    from payment_differences
    where resolved_at is null
    order by first_seen, ref
    limit $1`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Difference])
}

// PruneDifferences forgets what was resolved longer ago than age.
func PruneDifferences(ctx context.Context, q Querier, age time.Duration) error {
	_, err := q.Exec(ctx, `delete from payment_differences where resolved_at < $1`, time.Now().Add(-age))
	return err
}

// Reconciliation is how far the books were compared.
type Reconciliation struct {
	DoneUntil time.Time
	Ahead     bool // that is in a time to come
	RanAt     time.Time
}

// LastReconciliation is nil before the first.
func LastReconciliation(ctx context.Context, q Querier) (*Reconciliation, error) {
	r := new(Reconciliation)
	err := q.QueryRow(ctx, `select done_until, done_until > now(), ran_at from reconciliation`).Scan(&r.DoneUntil, &r.Ahead, &r.RanAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// Reconciled takes note of how far the books were compared, which is at most until what is not settled yet. It never goes
// back, unless a clock that was fast had taken it into the future.
func Reconciled(ctx context.Context, q Querier, until time.Time, unsettled time.Duration, intents, refunds int) error {
	_, err := q.Exec(ctx, `
    insert into reconciliation as r (done_until, ran_at, intents, refunds)
    values (least($1, now() - $4::interval), now(), $2, $3)
    on conflict (one) do update
    set done_until = greatest(case when r.done_until <= now() then r.done_until end, excluded.done_until), ran_at = now(), intents = r.intents + excluded.intents, refunds = r.refunds + excluded.refunds`,
		until, intents, refunds, unsettled)
	return err
}
