package sandbox_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

func TestRefundsInParts(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.charge(575, "tok_visa", "a")
	part, err := s.refund(in.ID, 200, "part")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", part.Status, stripe.RefundStatusSucceeded)
	equal(t, "amount", part.Amount, 200)
	equal(t, "intent", part.PaymentIntent.ID, in.ID)
	_, err = s.refund(in.ID, 376, "too much")
	refusal(t, err, http.StatusBadRequest, "amount_too_large")
	rest, err := s.refund(in.ID, 0, "rest")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the rest", rest.Amount, 375)
	_, err = s.refund(in.ID, 0, "again")
	refusal(t, err, http.StatusBadRequest, "charge_already_refunded")
	equal(t, "refunded", s.get(in.ID).LatestCharge.AmountRefunded, 575)
	equal(t, "wholly", s.get(in.ID).LatestCharge.Refunded, true)
	sum := int64(0)
	for _, e := range s.ledger() {
		if e.Kind == "refunded" {
			sum += e.Amount
		}
	}
	equal(t, "sum in the ledger", sum, 575)
}

func TestWhatWasNotCapturedIsNotRefunded(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	_, err := s.refund(s.create(575, "tok_visa", "a").ID, 0, "r")
	refusal(t, err, http.StatusBadRequest, "charge_not_refundable")
	_, err = s.refund("pi_zzz_nobody", 0, "r2")
	refusal(t, err, http.StatusNotFound, "resource_missing")
	equal(t, "refunds", s.count("refunded"), 0)
}

func TestRefundsThatFailOrTakeTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{Slow: time.Second})
	failing := s.charge(575, "tok_refund_fails", "failing")
	re, err := s.refund(failing.ID, 0, "failing-refund")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", re.Status, stripe.RefundStatusFailed)
	equal(t, "refunded", s.get(failing.ID).LatestCharge.AmountRefunded, 0)
	pending := s.charge(575, "tok_refund_pending", "pending")
	re, err = s.refund(pending.ID, 0, "pending-refund")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", re.Status, stripe.RefundStatusPending)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	eventually(t, "the refund succeeded after a restart", func() bool {
		got, err := s.api.V1Refunds.Retrieve(t.Context(), re.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Status == stripe.RefundStatusSucceeded
	})
	equal(t, "refunded", s.count("refunded"), 1)
	equal(t, "failed", s.count("refund_failed"), 1)
}

func TestASlowCardIsDecidedAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{Slow: time.Second})
	in := s.create(575, "tok_slow", "a")
	broken := make(chan error, 1)
	go func() {
		_, err := s.confirm(t.Context(), in.ID, "a-confirm")
		broken <- err
	}()
	eventually(t, "processing", func() bool { return s.get(in.ID).Status == stripe.PaymentIntentStatusProcessing })
	_, err := s.confirm(t.Context(), in.ID, "another")
	refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	if <-broken == nil {
		t.Fatal("closed books answered")
	}
	s, _ = open(t, dir, sandbox.Options{})
	eventually(t, "succeeded", func() bool { return s.get(in.ID).Status == stripe.PaymentIntentStatusSucceeded })
	in, err = s.confirm(t.Context(), in.ID, "a-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "replayed", in.Status, stripe.PaymentIntentStatusSucceeded)
	_, err = s.confirm(t.Context(), in.ID, "another")
	refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	equal(t, "refusals", s.count("refused"), 1)
	equal(t, "captures", s.count("captured"), 1)
}

func TestLists(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	var made []string
	for i := range 25 {
		in := s.charge(int64(100+i), "tok_visa", string(rune('a'+i)))
		made = append(made, in.ID)
		if _, err := s.refund(in.ID, 10, "r1"+in.ID); err != nil {
			t.Fatal(err)
		}
	}
	list := &stripe.PaymentIntentListParams{}
	list.Limit = stripe.Int64(10)
	list.AddExpand("data.latest_charge")
	list.CreatedRange = &stripe.RangeQueryParams{GreaterThanOrEqual: time.Now().Add(-time.Hour).Unix(), LesserThan: time.Now().Add(time.Hour).Unix()}
	n := 0
	for in, err := range s.api.V1PaymentIntents.List(t.Context(), list).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "newest first", in.ID, made[len(made)-1-n])
		equal(t, "refunded", in.LatestCharge.AmountRefunded, 10)
		n++
	}
	equal(t, "intents", n, 25)
	list.CreatedRange = &stripe.RangeQueryParams{LesserThan: time.Now().Add(-time.Hour).Unix()}
	for in, err := range s.api.V1PaymentIntents.List(t.Context(), list).All(t.Context()) {
		t.Fatalf("%v was not created an hour ago, %v", in, err)
	}
	s.listsRefunds(made)
}

func (s *shop) listsRefunds(made []string) {
	s.t.Helper()
	if _, err := s.refund(made[3], 20, "second"); err != nil {
		s.t.Fatal(err)
	}
	for intent, want := range map[string]int{"": 26, made[3]: 2, made[4]: 1} {
		list := &stripe.RefundListParams{}
		list.Limit = stripe.Int64(1)
		if intent != "" {
			list.PaymentIntent = stripe.String(intent)
		}
		seen := map[string]bool{}
		for re, err := range s.api.V1Refunds.List(s.t.Context(), list).All(s.t.Context()) {
			if err != nil {
				s.t.Fatal(err)
			}
			if len(seen) == 0 && intent != made[4] {
				equal(s.t, "newest first", re.Amount, 20)
			}
			seen[re.ID] = true
		}
		equal(s.t, "refunds of "+intent, len(seen), want)
	}
}
