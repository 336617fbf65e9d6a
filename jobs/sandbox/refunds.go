package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sort"
	"time"
)

var refundReasons = []string{"", "duplicate", "fraudulent", "requested_by_customer"}

// refund gives a charge back, or a part of it.
func (s *Sandbox) refund(c *call) (*line, error) {
	in, err := s.intentOf(c.form.get("payment_intent"), "payment_intent")
	if err != nil {
		return nil, err
	}
	re := &refundState{Index: s.refunds.len(), Reason: c.form.get("reason"), Amount: in.Amount - in.Refunded}
	if !slices.Contains(refundReasons, re.Reason) {
		return nil, invalid("", "reason", "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer")
	}
	if re.Metadata, err = c.form.metadata(); err != nil {
		return nil, err
	}
	if c.form.get("amount") != "" {
		if re.Amount, err = c.form.amount("amount"); err != nil {
			return nil, err
		}
	}
	if why := s.notRefundable(in, re.Amount); why != nil {
		return s.refuse(c, in, why)
	}
	return s.recordRefund(c, in, re)
}

func (s *Sandbox) notRefundable(in *intentState, amount int64) *apiError {
	switch left := in.Amount - in.Refunded; {
	case in.Status != statuses[succeeded]:
		return invalid("charge_not_refundable", "payment_intent",
			fmt.Sprintf("This PaymentIntent (%s) does not have a successful charge to refund.", s.id("pi", in.Index, 0)))
	case left == 0:
		return invalid("charge_already_refunded", "",
			fmt.Sprintf("Charge %s has already been refunded.", s.id("ch", in.Index, in.Attempts)))
	case amount > left:
		return invalid("amount_too_large", "amount",
			fmt.Sprintf("Refund amount (%d) is greater than unrefunded amount on charge (%d)", amount, left))
	}
	return nil
}

func (s *Sandbox) recordRefund(c *call, before *intentState, re *refundState) (*line, error) {
	in := *before
	l := &line{Kind: refunded, Status: http.StatusOK, Intent: &in, Refund: re}
	card, _, _ := readToken(in.Token)
	comesTo := card.refund
	if card.mends && len(s.refundsOf(in.Index)) > 0 {
		comesTo = succeeded
	}
	switch comesTo {
	case hasFailed:
		l.Kind, re.Status, re.Failure = refundFailed, statuses[hasFailed], "expired_or_canceled_card"
	case isPending:
		l.Kind, re.Status = refundPending, statuses[isPending]
		re.DecidesAt = time.Now().Add(s.options.Slow).UnixMicro()
		in.Refunded += re.Amount
	default:
		re.Status = statuses[succeeded]
		in.Refunded += re.Amount
	}
	if err := s.record(c.answered(l)); err != nil {
		return nil, err
	}
	if re.DecidesAt > 0 {
		s.refundLater(re.Index, time.UnixMicro(re.DecidesAt))
	}
	return l, nil
}

// refundLater lets a pending refund succeed at its time; s.mu is held.
func (s *Sandbox) refundLater(index int, at time.Time) {
	s.timers[index] = time.AfterFunc(time.Until(at), func() {
		if err := s.settleRefund(index); err != nil {
			s.log.Error("the sandbox could not end a pending refund; it is tried again when the books are opened",
				slog.Int("refund", index), slog.Any("error", err))
		}
	})
}

func (s *Sandbox) settleRefund(index int) error {
	s.mu.Lock()
	re := *s.refunds.get(index)
	s.mu.Unlock()
	before, err := s.books.read(re.at)
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.timers, index)
	last, err := s.lastLine(int(re.intent))
	var l *line
	if err == nil {
		now := *before.Refund
		now.Status, now.DecidesAt = statuses[succeeded], 0
		l = &line{Kind: refunded, Status: http.StatusOK, Intent: last.Intent, Refund: &now}
		err = s.record(l)
	}
	s.mu.Unlock()
	if err == nil {
		err = l.batch.wait()
	}
	if err == nil {
		s.tell(context.Background(), l)
	}
	return err
}

func (s *Sandbox) getRefund(c *call) (any, error) {
	s.mu.Lock()
	index, ok := s.index("re", c.r.PathValue("id"), s.refunds.len())
	s.mu.Unlock()
	if !ok {
		return nil, missing("refund", "id", c.r.PathValue("id"))
	}
	return s.seenRefund(index)
}

func (s *Sandbox) seenRefund(index int) (any, error) {
	s.mu.Lock()
	at := s.refunds.get(index).at
	s.mu.Unlock()
	l, err := s.books.read(at)
	if err != nil {
		return nil, err
	}
	return s.shapeRefund(l.Intent, l.Refund), nil
}

func (s *Sandbox) listRefunds(c *call) (any, error) {
	page, err := s.readPage(c.form)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	found, err := s.pickRefunds(c.form, page)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	list := &listShape{Object: "list", URL: "/v1/refunds", HasMore: len(found) > page.limit, Data: []any{}}
	for _, index := range found[:min(len(found), page.limit)] {
		re, err := s.seenRefund(index)
		if err != nil {
			return nil, err
		}
		list.Data = append(list.Data, re)
	}
	return list, nil
}

func (s *Sandbox) pickRefunds(f form, p *page) ([]int, error) {
	below := s.refunds.len()
	if after := f.get("starting_after"); after != "" {
		index, ok := s.index("re", after, below)
		if !ok {
			return nil, missing("refund", "starting_after", after)
		}
		below = index
	}
	created := func(i int) int64 { return s.refunds.get(i).created }
	id := f.get("payment_intent")
	if id == "" {
		return p.pick(below, created), nil
	}
	index, ok := s.index("pi", id, s.intents.len())
	if !ok {
		return nil, missing("payment_intent", "payment_intent", id)
	}
	chain := s.refundsOf(index)
	below = sort.SearchInts(chain, below)
	picked := p.pick(below, func(i int) int64 { return created(chain[i]) })
	for i, at := range picked {
		picked[i] = chain[at]
	}
	return picked, nil
}

// refundsOf are the refunds of an intent, oldest first.
func (s *Sandbox) refundsOf(index int) []int {
	var chain []int
	for next := s.intents.get(index).lastRefund; next > 0; next = s.refunds.get(int(next) - 1).before {
		chain = append(chain, int(next)-1)
	}
	slices.Reverse(chain)
	return chain
}
