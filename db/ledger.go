package db

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// legs are the sides of a movement of money: what was taken by card and at the till, and with the opposite sign what it
// was taken for. Their sum is zero, or something was taken for nothing: the table does not take that.
type legs struct {
	card, till, sales, tax, tips int64
}

// paid are the legs of an amount that was taken by a method.
func paid(method string, amount, sales, tax, tips int64) legs {
	l := legs{sales: -sales, tax: -tax, tips: -tips}
	if method == toCard {
		l.card = amount
	} else {
		l.till = amount
	}
	return l
}

// movement is what a change did to the money, with an empty kind if nothing. The amounts are those that the order
// counts and the shares those of its lines, so that the database can tell when they differ.
func (c *changing) movement() (kind string, moved legs) {
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
	return "", legs{}
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

func (r *ledgerRows) add(o *Order, kind string, l legs) {
	r.stores, r.ids, r.versions = append(r.stores, o.StoreID), append(r.ids, o.ID), append(r.versions, o.Version)
	r.kinds, r.at = append(r.kinds, kind), append(r.at, o.UpdatedAt)
	r.cards, r.tills = append(r.cards, l.card), append(r.tills, l.till)
	r.sales, r.tax, r.tips = append(r.sales, l.sales), append(r.tax, l.tax), append(r.tips, l.tips)
}

// queueLedger appends a row for each change that captured or gave back.
func queueLedger(batch *pgx.Batch, work []*changing) {
	var r ledgerRows
	for _, c := range work {
		if !c.moved() {
			continue
		}
		if kind, moved := c.movement(); kind != "" {
			r.add(c.after, kind, moved)
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
