package jobs

import (
	"context"
	"errors"
	"time"

	"frenchpress/db"
)

// examine says in what the two sides differ about one intent. They are not read at the same moment: what has just moved
// is read once more.
func (c *Client) examine(ctx context.Context, s db.Suspect) ([]db.Difference, error) {
	e, err := c.evidenceOf(ctx, s)
	if err == nil && e.young(time.Now()) && len(e.differences(time.Now())) > 0 {
		e, err = c.evidenceOf(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return e.differences(time.Now()), nil
}

// evidenceOf asks the provider about one intent, and our books about the attempt that it names.
func (c *Client) evidenceOf(ctx context.Context, s db.Suspect) (*evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	e := &evidence{intent: s.Intent, order: s.OrderRef, attempt: s.Attempt}
	heard := c.provider.Read(ctx, s.Intent)
	var gone *refusal
	switch {
	case heard.Word == told:
		e.charge = heard.Intent
		if ref, ok := db.ParseReference(heard.Intent.Order); ok {
			e.order, e.attempt = ref, heard.Intent.Attempt
		}
		refunds, err := c.provider.RefundsOf(ctx, s.Intent)
		if err != nil {
			return nil, err
		}
		for _, re := range refunds {
			if re.Gone() {
				e.givenBack += re.Amount
			}
		}
	case !errors.As(heard.Err, &gone):
		return nil, heard.Err
	}
	var err error
	if e.attempt == 0 && e.order.StoreID != 0 { // an open difference of an intent that the provider does not know
		charge, err := c.charge(ctx, e.order)
		if err != nil || charge == nil {
			return e, err
		}
		e.attempt = charge.Attempt
	}
	e.ours, err = db.BookedChargeOf(ctx, c.pool, e.order, e.attempt)
	return e, err
}

// evidence is what both sides say of one intent.
type evidence struct {
	intent    string
	order     db.OrderRef
	attempt   int
	charge    *Intent // nil: the provider does not know it
	givenBack int64
	ours      *db.BookedCharge // nil: our books do not know the attempt
}

// booked tells whether the intent is the one of the attempt in our books.
func (e *evidence) booked() bool { return e.ours != nil && e.ours.Intent == e.intent }

// young tells whether the charge has moved in our books a short while ago.
func (e *evidence) young(now time.Time) bool {
	return e.booked() && now.Sub(e.ours.UpdatedAt) < unsettledFor
}

func (e *evidence) difference(kind string, ours, provider int64, words string) db.Difference {
	d := db.Difference{Kind: kind, Ref: e.intent, Ours: ours, Provider: provider, Words: words}
	if e.order.StoreID != 0 {
		d.Order = e.order.Reference()
	}
	return d
}

// differences says in what the two sides do not agree. What may still be under way is none.
func (e *evidence) differences(now time.Time) (found []db.Difference) {
	add := func(kind string, ours, provider int64, words string) {
		found = append(found, e.difference(kind, ours, provider, words))
	}
	var received int64
	if e.charge != nil && e.charge.State == succeeded {
		received = e.charge.Received
	}
	booked, young := e.booked(), e.young(now)
	charged := booked && e.ours.Charged()
	switch {
	case received == 0 && charged:
		add("order_without_charge", e.ours.Amount, 0, "our books have a charge that the provider has not")
	case received > 0 && booked && !e.ours.Status.Settled() && !charged:
		if !young {
			add("charge_not_settled", 0, received, "the provider took the money, and the order still waits for it")
		}
	case received > e.givenBack && !charged:
		add("charge_without_order", 0, received, "the provider took money that our books know nothing of")
	case charged && received != e.ours.Amount:
		add("amount_differs", e.ours.Amount, received, "another amount was charged")
	}
	switch {
	case !charged || received == 0:
	case e.givenBack > e.ours.Refunded+e.ours.Asked:
		add("refund_without_record", e.ours.Refunded, e.givenBack, "the provider gave back more than our books say")
	case e.givenBack < e.ours.Refunded:
		add("refund_missing", e.ours.Refunded, e.givenBack, "the provider gave back less than our books say")
	}
	return found
}
