package main

import (
	"fmt"
	"slices"
)

// chaosCheck is something that must hold whatever died. It gives a text for each violation.
type chaosCheck struct {
	name string
	run  func(*records) []string
}

var chaosChecks = []chaosCheck{
	{"every acknowledged order is there with that total", (*records).lost},
	{"every acknowledged state is in the order's history", (*records).forgotten},
	{"one key makes at most one order", (*records).doubled},
	{"at most one capture per order", (*records).chargedTwice},
	{"captures less refunds are what the shop has recorded, and the total or nothing", (*records).moneyOff},
	{"nothing is unfinished 60 s after the last fault", (*records).open},
	{"versions have no gap and every transition is legal", (*records).illegal},
	{"every live client has converged and never went back", (*records).astray},
	{"one notification for each subject, kind and channel", (*records).repeated},
	{"no poison job keeps a worker", (*records).poisoned},
	{"the shop finds no difference to the provider's books", func(r *records) []string { return r.Differences }},
	{"the ledger sums to zero", (*records).unbalanced},
}

// legalNext is the contract's diagram, written down a second time. ready from placed goes by way of in_progress.
var legalNext = map[string][]string{
	"":                {"payment_pending", "placed"},
	"payment_pending": {"placed", "payment_failed", "cancelled", "expired"},
	"payment_failed":  {"payment_pending", "cancelled", "expired"},
	"placed":          {"in_progress", "cancelled"},
	"in_progress":     {"ready", "placed", "cancelled"},
	"ready":           {"picked_up", "in_progress", "abandoned"},
}

func (r *records) byID() map[string]bookedOrder {
	orders := make(map[string]bookedOrder, len(r.Orders))
	for _, o := range r.Orders {
		orders[o.ID] = o
	}
	return orders
}

func (r *records) lost() (faults []string) {
	orders := r.byID()
	for _, a := range r.Acks {
		o, known := orders[a.Order]
		switch {
		case !known:
			faults = append(faults, fmt.Sprintf("order %s of %s was acknowledged (%s) and is not there", a.Order, a.Store, a.Doing))
		case o.Total != a.Total:
			faults = append(faults, fmt.Sprintf("order %s was acknowledged with a total of %d and has %d", a.Order, a.Total, o.Total))
		}
	}
	return faults
}

func (r *records) forgotten() (faults []string) {
	type state struct {
		order   string
		version int64
	}
	history := make(map[state]string, len(r.Steps))
	for _, s := range r.Steps {
		history[state{s.Order, s.Version}] = s.Status
	}
	for _, a := range r.Acks {
		if got, known := history[state{a.Order, a.Version}]; !known || got != a.Status {
			faults = append(faults, fmt.Sprintf("%s was answered with order %s %s at version %d; its history has %q there", a.Doing, a.Order, a.Status, a.Version, got))
		}
	}
	return faults
}

func (r *records) doubled() (faults []string) {
	for _, key := range r.Twice {
		faults = append(faults, "several orders came of the key in "+key)
	}
	placed := map[string]bool{}
	for _, a := range r.Acks {
		if a.Doing != "place" {
			continue
		}
		if placed[a.Order] {
			faults = append(faults, fmt.Sprintf("order %s answers two keys", a.Order))
		}
		placed[a.Order] = true
	}
	return faults
}

func (r *records) chargedTwice() (faults []string) {
	captures := map[string]int{}
	for _, m := range r.Moved {
		if m.Refund {
			continue
		}
		if captures[m.Order]++; captures[m.Order] == 2 {
			faults = append(faults, fmt.Sprintf("order %s was charged more than once", m.Order))
		}
	}
	return faults
}

// moneyOff compares the provider's books with the shop's, order by order.
func (r *records) moneyOff() (faults []string) {
	type sums struct{ captured, refunded int64 }
	moved, orders := map[string]sums{}, r.byID()
	for _, m := range r.Moved {
		s := moved[m.Order]
		if m.Refund {
			s.refunded += m.Amount
		} else {
			s.captured += m.Amount
		}
		moved[m.Order] = s
	}
	for id, s := range moved {
		if _, known := orders[id]; !known {
			faults = append(faults, fmt.Sprintf("the provider took %d for order %s, which is not there", s.captured, id))
		}
	}
	for id, o := range orders {
		s := moved[id]
		if why := o.moneyFault(s.captured, s.refunded); why != "" {
			faults = append(faults, fmt.Sprintf("order %s of %d (%s, payment %s): the provider took %d and gave back %d, the shop says %d and %d: %s",
				id, o.Total, o.Status, o.Payment, s.captured, s.refunded, o.Captured, o.Refunded, why))
		}
	}
	return faults
}

func (o bookedOrder) moneyFault(captured, refunded int64) string {
	kept := captured - refunded
	partly := o.Payment == "partially_refunded" && kept > 0 && kept < o.Total
	over := o.Status == "cancelled" || o.Status == "expired"
	switch {
	case captured != o.Captured || refunded != o.Refunded:
		return "the books differ"
	case kept != 0 && kept != o.Total && !partly:
		return "neither the total nor nothing was kept"
	case over && kept != 0:
		return "nothing was made of it, but money was kept"
	case o.Status == "picked_up" && kept != o.Total && !partly:
		return "it was handed over, but not paid"
	}
	return ""
}

func (r *records) open() []string { return r.Unfinished }

func (r *records) illegal() (faults []string) {
	newest := map[string]bookedStep{}
	for _, s := range r.Steps {
		last := newest[s.Order]
		switch {
		case s.Version != last.Version+1:
			faults = append(faults, fmt.Sprintf("order %s: version %d follows %d", s.Order, s.Version, last.Version))
		case s.Status != last.Status && !slices.Contains(legalNext[last.Status], s.Status):
			faults = append(faults, fmt.Sprintf("order %s went from %q to %s with version %d", s.Order, last.Status, s.Status, s.Version))
		}
		newest[s.Order] = s
	}
	for _, o := range r.Orders {
		if s := newest[o.ID]; s.Version != o.Version || s.Status != o.Status {
			faults = append(faults, fmt.Sprintf("order %s is %s at version %d; its history ends with %q at %d", o.ID, o.Status, o.Version, s.Status, s.Version))
		}
	}
	return faults
}

func (r *records) astray() (faults []string) {
	orders := r.byID()
	for _, w := range r.Screens {
		o := orders[w.Order]
		switch {
		case w.Back != "":
			faults = append(faults, fmt.Sprintf("the screen of order %s went back: %s", w.Order, w.Back))
		case w.Version != o.Version || w.Status != o.Status:
			faults = append(faults, fmt.Sprintf("the screen of order %s shows %q at version %d; it is %s at %d", w.Order, w.Status, w.Version, o.Status, o.Version))
		case !w.Ended:
			faults = append(faults, fmt.Sprintf("the stream of order %s did not end; it is %s, payment %s", w.Order, o.Status, o.Payment))
		}
	}
	return faults
}

func (r *records) repeated() (faults []string) {
	for _, m := range r.Messages {
		if m.Times > 1 {
			faults = append(faults, fmt.Sprintf("%s about %s was sent %d times by %s", m.Kind, m.Subject, m.Times, m.Channel))
		}
	}
	return faults
}

func (r *records) poisoned() []string { return r.Poison }

func (r *records) unbalanced() []string {
	if r.Ledger != 0 {
		return []string{fmt.Sprintf("the ledger sums to %d", r.Ledger)}
	}
	return nil
}
