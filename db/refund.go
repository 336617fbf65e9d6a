package db

import (
	"fmt"
	"slices"
	"time"
)

// The states of a refund.
const (
	RefundAsked   = "pending" // the provider has not said yet that it is done
	RefundGiven   = "done"
	RefundRefused = "failed" // the provider never will; the money is still owed, and staff see to it
)

// Where the money of a refund goes.
const (
	toCard = "card"
	toTill = "till" // handed over the counter
)

// Refusals of refunds.
var (
	ErrRefundPending = &Error{Code: CodeRefundPending, Detail: "a refund of this order is still on its way"}
	ErrNotRefundable = &Error{Code: CodeNotRefundable, Detail: "nothing was paid that has not gone back"}
	ErrNotRefused    = &Error{Code: CodeNotRefundable, Detail: "this refund waits for nobody: somebody has seen to it already"}
)

// LineUnits are some units of one line of an order.
type LineUnits struct {
	Line     int `json:"line"` // its place in the order, from 0
	Quantity int `json:"quantity"`
}

// Refund is money that goes back to the customer of an order. Amount is Sales + Tax + Tip, in minor units.
type Refund struct {
	N         int         `json:"n"` // counts the refunds of an order, from 1
	Amount    int64       `json:"amount"`
	Sales     int64       `json:"sales"`
	Tax       int64       `json:"tax"`
	Tip       int64       `json:"tip"`
	Lines     []LineUnits `json:"lines"`
	Method    string      `json:"method"` // card or till
	Reason    string      `json:"reason"`
	By        string      `json:"by"`
	Status    string      `json:"status"`
	Failure   string      `json:"failure"` // the provider's word, when it failed
	Ref       string      `json:"ref"`     // the provider's own name of it
	Tries     int         `json:"tries"`   // how often staff have had the provider asked, from 1
	At        time.Time   `json:"at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// Key is the idempotency key under which the provider knows the refund of an order. What it has refused for good is
// tried again under another one.
func (r *Refund) Key(order OrderRef) string {
	key := fmt.Sprintf("refund-%d-%s-%d", order.StoreID, order.ID, r.N)
	if r.Tries > 1 {
		key += fmt.Sprintf("-%d", r.Tries)
	}
	return key
}

// RefundRequest is what staff want to give back: units of lines, and the tip.
type RefundRequest struct {
	Lines  []LineUnits
	Tip    bool
	Reason string
}

// GiveBack refunds a part of what was paid, whatever became of the order; else ErrRefundPending, ErrNotRefundable, or
// Faults of the request.
func GiveBack(asked RefundRequest, by string) Decision {
	return func(o *Order, now time.Time) error {
		switch {
		case o.Payment.Status == RefundPending:
			return ErrRefundPending
		case o.Payment.Captured == o.Payment.Refunded:
			return ErrNotRefundable
		}
		refund, faults := o.refundOf(asked)
		if len(faults) > 0 {
			return faults
		}
		o.begin(refund, by, asked.Reason, now)
		o.move(o.Status, o.afterRefunds(), by, asked.Reason, now)
		return nil
	}
}

// RefundDone records that a refund went back to the card; ref is the provider's name of it. It believes the provider
// of a refund that had failed, too.
func RefundDone(n int, ref string) Decision {
	return func(o *Order, now time.Time) error {
		if r := o.refund(n); r != nil && r.Status != RefundGiven {
			r.Status, r.Ref, r.Failure = RefundGiven, ref, ""
			o.given(r, "payment", "", now)
		}
		return nil
	}
}

// RefundFailed records that the provider has refused a refund for good, and its word for why. An answer to an earlier
// try than the one under way changes nothing.
func RefundFailed(n, try int, failure string) Decision {
	return func(o *Order, now time.Time) error {
		r := o.refund(n)
		if r == nil || r.Status != RefundAsked || r.Tries != try {
			return nil
		}
		r.Status, r.Failure, r.UpdatedAt = RefundRefused, failure, o.stamp(now)
		o.move(o.Status, o.afterRefunds(), "payment", failure, now)
		return nil
	}
}

// RefundAgain has the provider asked once more for a refund that failed; else ErrNotRefused.
func RefundAgain(n int, by string) Decision {
	return func(o *Order, now time.Time) error {
		r := o.refund(n)
		if r == nil || r.Status != RefundRefused {
			return ErrNotRefused
		}
		r.Status, r.Failure, r.UpdatedAt = RefundAsked, "", o.stamp(now)
		r.Tries++
		o.move(o.Status, o.afterRefunds(), by, "refund tried again", now)
		return nil
	}
}

// RefundByHand records that staff gave a refund that had failed over the counter; else ErrNotRefused.
func RefundByHand(n int, by, reason string) Decision {
	return func(o *Order, now time.Time) error {
		r := o.refund(n)
		if r == nil || r.Status != RefundRefused {
			return ErrNotRefused
		}
		r.Status, r.Method = RefundGiven, toTill
		o.given(r, by, reason, now)
		return nil
	}
}

// refund is the order's nth refund, to be written to: this version of the order gets refunds of its own. Nil if
// there is none.
func (o *Order) refund(n int) *Refund {
	if n < 1 || n > len(o.Refunds) {
		return nil
	}
	o.Refunds = slices.Clone(o.Refunds)
	return &o.Refunds[n-1]
}

// given counts a refund that has just been done.
func (o *Order) given(r *Refund, by, reason string, now time.Time) {
	r.UpdatedAt = o.stamp(now)
	o.Payment.Refunded += r.Amount
	o.move(o.Status, o.afterRefunds(), by, reason, now)
}

// begin adds a refund. What was paid at the till is given back there at once, the rest waits for the provider.
func (o *Order) begin(r Refund, by, reason string, now time.Time) {
	r.N, r.Tries, r.By, r.Reason = len(o.Refunds)+1, 1, by, reason
	r.At = o.stamp(now)
	r.UpdatedAt = r.At
	r.Method, r.Status = toCard, RefundAsked
	if o.Payment.Method == "counter" {
		r.Method, r.Status = toTill, RefundGiven
		o.Payment.Refunded += r.Amount
	}
	o.Refunds = append(slices.Clip(o.Refunds), r)
}

// beginRest adds a refund of all that is neither back nor on its way, if there is any.
func (o *Order) beginRest(by, reason string, now time.Time) {
	taken, tipTaken := o.refundedUnits()
	var rest Refund
	for i := range o.Snapshot.Lines {
		if left := o.Snapshot.Lines[i].Quantity - taken[i]; left > 0 {
			rest.add(&o.Snapshot.Lines[i], i, taken[i], left)
		}
	}
	if !tipTaken {
		rest.addTip(o.Snapshot.Tip)
	}
	owed := o.Payment.Captured
	for _, r := range o.Refunds {
		owed -= r.Amount
	}
	rest.Sales += owed - rest.Amount // whatever the lines say: nothing stays with us
	if rest.Amount = owed; rest.Amount > 0 {
		o.begin(rest, by, reason, now)
	}
}

// afterRefunds is where the money of a captured order stands by its refunds.
func (o *Order) afterRefunds() PaymentStatus {
	switch {
	case slices.ContainsFunc(o.Refunds, func(r Refund) bool { return r.Status != RefundGiven }):
		return RefundPending
	case o.Payment.Refunded == o.Payment.Captured:
		return Refunded
	case o.Payment.Refunded > 0:
		return PartiallyRefunded
	}
	return Captured
}

// refundedUnits are how many units of each line are back or on their way, and whether the tip is.
func (o *Order) refundedUnits() (units []int, tip bool) {
	units = make([]int, len(o.Snapshot.Lines))
	for _, r := range o.Refunds {
		tip = tip || r.Tip > 0
		for _, part := range r.Lines {
			units[part.Line] += part.Quantity
		}
	}
	return units, tip
}

// Left are how many units of each line, and how much of the tip, staff may still give back.
func (o *Order) Left() (units []int, tip int64) {
	taken, tipTaken := o.refundedUnits()
	for i, n := range taken {
		taken[i] = o.Snapshot.Lines[i].Quantity - n
	}
	if tipTaken {
		return taken, 0
	}
	return taken, o.Snapshot.Tip
}

// refundOf is what a request comes to, or everything that is wrong with it.
func (o *Order) refundOf(asked RefundRequest) (r Refund, faults Faults) {
	left, tip := o.Left()
	named := make([]bool, len(left))
	for i, part := range asked.Lines {
		switch {
		case part.Line < 0 || part.Line >= len(left):
			faults.Add(Pointer("lines", i, "line"), fmt.Sprintf("must be from 0 to %d, the lines of the order", len(left)-1))
		case named[part.Line]:
			faults.Add(Pointer("lines", i, "line"), "is there twice")
		case left[part.Line] == 0:
			faults.Add(Pointer("lines", i, "quantity"), "cannot be: nothing of this line is left to give back")
		case part.Quantity < 1 || part.Quantity > left[part.Line]:
			faults.Add(Pointer("lines", i, "quantity"), fmt.Sprintf("must be from 1 to %d, what is left of this line", left[part.Line]))
		default:
			line := &o.Snapshot.Lines[part.Line]
			r.add(line, part.Line, line.Quantity-left[part.Line], part.Quantity)
			named[part.Line] = true
		}
	}
	switch {
	case asked.Tip && tip == 0:
		faults.Add("/tip", "cannot be: there is no tip to give back")
	case asked.Tip:
		r.addTip(tip)
	}
	if len(faults) == 0 && r.Amount == 0 {
		faults.Add("/lines", "must come to more than nothing")
	}
	return r, faults
}

// add takes the next quantity units of a line, of which taken went before.
func (r *Refund) add(line *PricedLine, place, taken, quantity int) {
	piece := func(whole int64) int64 {
		return share(whole, taken+quantity, line.Quantity) - share(whole, taken, line.Quantity)
	}
	sales, tax := piece(line.Total), piece(line.Tax)
	r.Lines = append(r.Lines, LineUnits{place, quantity})
	r.Sales, r.Tax, r.Amount = r.Sales+sales, r.Tax+tax, r.Amount+sales+tax
}

func (r *Refund) addTip(tip int64) { r.Tip, r.Amount = r.Tip+tip, r.Amount+tip }

// share is what the first k of n units have of an amount, rounded half to even. The differences between such shares sum
// to the amount, in whatever pieces it goes.
func share(amount int64, k, n int) int64 {
	product, units := amount*int64(k), int64(n)
	part, rest := product/units, product%units
	if 2*rest > units || 2*rest == units && part%2 == 1 {
		part++
	}
	return part
}
