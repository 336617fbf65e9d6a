package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// StoryEntry is one thing that happened to an order.
type StoryEntry struct {
	At     time.Time
	Kind   string // request, state, charge, refund, ledger, job or notification
	Title  string
	Detail string
}

// storyMax bounds a story: an order that needs more is told by the log.
const storyMax = 500

// Story is what the database knows of an order: the requests and commands that named it, its versions, the
// attempts to charge it and its refunds with the provider's words, its rows of the ledger, and its notifications; in no
// order.
func Story(ctx context.Context, q Querier, ref OrderRef) ([]StoryEntry, error) {
	rows, err := q.Query(ctx, `
    select at, kind, title, detail
    from (
        select k.created_at as at, 'request' as kind, 'POST ' || k.route as title,
               'key ' || k.key || coalesce(', answered ' || k.status, ', waiting until ' || k.wait_until, '') as detail
        from idempotency_keys k
        where k.store_id = $1 and k.order_id = $2
        union all
        select c.received_at, 'request', 'command ' || c.type || ': ' || c.result,
               'by ' || c.by || coalesce(', ' || c.reason, '') || ', tapped ' || c.occurred_at || ', command ' || c.id
        from commands c
        where c.store_id = $1 and c.order_id = $2
        union all
        select h.at, 'state', 'version ' || h.version || ': ' || h.status,
               'payment ' || h.payment_status || ', by ' || h.by || coalesce(', ' || h.reason, '')
        from order_history h
        where h.store_id = $1 and h.order_id = $2
        union all
        select p.updated_at, 'charge', 'attempt ' || p.attempt || ': ' || p.status,
               p.amount || ' minor units, begun ' || p.created_at || coalesce(', ' || p.failure, '')
                 || case when p.provider_ref = '' then ', given up before it was made' else coalesce(', the provider''s ' || p.provider_ref, '') end
                 || ', keys tried ' || p.tries || coalesce(', the provider says: ' || p.provider_words, '')
        from payments p
        where p.store_id = $1 and p.order_id = $2
        union all
        select r.updated_at, 'refund', 'refund ' || r.n || ': ' || r.status,
               r.amount || ' minor units to ' || r.method || ' (sales ' || r.sales || ', tax ' || r.tax || ', tip ' || r.tip || '), asked for by ' || r.by
               || coalesce(', ' || r.reason, '') || ', try ' || r.tries || coalesce(', ' || r.failure, '') || coalesce(', provider''s ' || r.provider_ref, '')
        from refunds r
        where r.store_id = $1 and r.order_id = $2
        union all
        select l.at, 'ledger', l.kind || ', version ' || l.version,
               'card ' || l.card || ', till ' || l.till || ', sales ' || l.sales || ', tax ' || l.tax || ', tips ' || l.tips
        from ledger l
        where l.store_id = $1 and l.order_id = $2
        union all
        select n.at, 'notification', n.kind || ' by ' || n.channel || ': ' || n.outcome, coalesce(n.detail, '')
        from notification_log n
        where n.store_id = $1 and n.subject = $2
    ) as story
    limit $3`, ref.StoreID, ref.ID, storyMax)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[StoryEntry])
}
