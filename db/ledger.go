package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Legs are the sides of a movement of money, or of many: what was taken by card and at the till, and with the opposite
// sign what it was taken for.
type Legs struct {
	Card, Till, Sales, Tax, Tips int64
}

// Sum is zero, or something was taken for nothing.
func (l Legs) Sum() int64 { return l.Card + l.Till + l.Sales + l.Tax + l.Tips }

// paid are the legs of an amount that was taken by a method.
func paid(method string, amount, sales, tax, tips int64) Legs {
	l := Legs{Sales: -sales, Tax: -tax, Tips: -tips}
	if method == toCard {
		l.Card = amount
	} else {
		l.Till = amount
	}
	return l
}

// movement is what a change did to the money, with an empty kind if nothing. The amounts are those that the order
// counts and the shares those of its lines, so that the database can tell when they differ.
func (c *changing) movement() (kind string, legs Legs) {
	o := c.after
	switch captured, refunded := o.Payment.Captured-c.before.Payment.Captured, o.Payment.Refunded-c.before.Payment.Refunded; {
	case captured != 0:
		s := &o.Snapshot
		return "capture", paid(o.Payment.Method, captured, s.Subtotal-s.Discount, s.Tax, s.Tip)
	case refunded != 0:
		var method string
		var sales, tax, tips int64
		for i, r := range o.Refunds {
			if r.Status == RefundGiven && c.before.refundStatus(i) != RefundGiven {
				method, sales, tax, tips = r.Method, sales+r.Sales, tax+r.Tax, tips+r.Tip
			}
		}
		return "refund", paid(method, -refunded, -sales, -tax, -tips)
	}
	return "", Legs{}
}

// ledgerRows are movements on their way into the database, column by column.
type ledgerRows struct {
	stores                         []int32
	ids                            []uuid.UUID
	versions                       []int
	kinds                          []string
	cards, tills, sales, tax, tips []int64
	at                             []time.Time
}

func (r *ledgerRows) add(o *Order, kind string, l Legs) {
	r.stores, r.ids, r.versions = append(r.stores, o.StoreID), append(r.ids, o.ID), append(r.versions, o.Version)
	r.kinds, r.at = append(r.kinds, kind), append(r.at, o.UpdatedAt)
	r.cards, r.tills = append(r.cards, l.Card), append(r.tills, l.Till)
	r.sales, r.tax, r.tips = append(r.sales, l.Sales), append(r.tax, l.Tax), append(r.tips, l.Tips)
}

// queueLedger appends a row for each change that captured or gave back.
func queueLedger(batch *pgx.Batch, work []*changing) {
	var r ledgerRows
	for _, c := range work {
		if !c.moved() {
			continue
		}
		if kind, legs := c.movement(); kind != "" {
			r.add(c.after, kind, legs)
		}
	}
	if len(r.ids) == 0 {
		return
	}
	batch.Queue(`
    insert into ledger (store_id, order_id, version, kind, card, till, sales, tax, tips, at)
    select *
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::text[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::timestamptz[])`,
		r.stores, r.ids, r.versions, r.kinds, r.cards, r.tills, r.sales, r.tax, r.tips, r.at)
}

// LedgerSum adds up every movement there ever was. Card and Till are what the shop has kept.
func LedgerSum(ctx context.Context, q Querier) (l Legs, err error) {
	err = q.QueryRow(ctx, `
    select coalesce(sum(card), 0)::int8, coalesce(sum(till), 0)::int8, coalesce(sum(sales), 0)::int8,
           coalesce(sum(tax), 0)::int8, coalesce(sum(tips), 0)::int8
    from ledger`).Scan(&l.Card, &l.Till, &l.Sales, &l.Tax, &l.Tips)
	return l, err
}
