package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// with is an order paid with a card token.
func with(token string) object {
	return latte(object{"payment": object{"method": "card", "token": token}})
}

// reference is how the provider's books name an order.
func (s *shop) reference(t *testing.T, o order) string {
	t.Helper()
	var storeID int32
	if err := s.api.pool.QueryRow(t.Context(), `select store_id from orders where id = $1`, o.ID).Scan(&storeID); err != nil {
		t.Fatal(err)
	}
	return db.OrderRef{StoreID: storeID, ID: uuid.MustParse(o.ID)}.Reference()
}

// checkLedger compares an order with the books of the provider: what was captured was charged once, what was
// given back was refunded once, and there is nothing else.
func (s *shop) checkLedger(t *testing.T, o order) {
	t.Helper()
	a := s.bank(t).accounts(t)[o.ID]
	refunds := s.count(t, `select count(*) from refunds where order_id = $1 and method = 'card' and status = 'done'`, o.ID)
	if a.Charged != o.Payment.Captured || a.GivenBack != o.Payment.Refunded || a.Charges > 1 || a.Refunds != refunds {
		t.Errorf("%s order, payment %+v: the provider has %+v", o.Status, o.Payment, a)
	}
	if o.Payment.Captured != 0 && o.Payment.Captured != o.Total {
		t.Errorf("captured %d of %d", o.Payment.Captured, o.Total)
	}
}

// bank is the provider of this shop.
func (s *shop) bank(t *testing.T) bank {
	t.Helper()
	s.bankOnce.Do(func() { s.opened = openBank(t, s.databaseURL) })
	return s.opened
}

// intents is how many the provider has made, of all orders.
func (s *shop) intents(t *testing.T) (n int) {
	t.Helper()
	for _, a := range s.bank(t).accounts(t) {
		n += a.Intents
	}
	return n
}

// paymentSteps are the states of payment that an order went through.
func (s *shop) paymentSteps(t *testing.T, o order) string {
	t.Helper()
	var steps string
	err := s.api.pool.QueryRow(t.Context(), `
    select string_agg(payment_status, ' ' order by version) from order_history where order_id = $1`, o.ID).Scan(&steps)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// withheld is an order about whose charge the provider keeps its decision to itself, which is what happens when it is
// down, after it took the money.
const withheld = "tok_visa!hold"

// release ends that with an outcome: succeeded or failed.
func (s *shop) release(t *testing.T, o order, outcome string) {
	t.Helper()
	reference := s.reference(t, o)
	var id, status string
	dbtest.Becomes(t, 5*time.Second, "the provider knows of the charge", func() bool {
		id, status = s.bank(t).intent(t, reference)
		return status == "processing"
	})
	s.bank(t).call(t, "POST", "/sandbox/intents/"+id+"/release?outcome="+outcome)
}

func (s *shop) cancel(t *testing.T, o order) answer {
	t.Helper()
	return s.call(t, "POST", o.path()+"/cancel", o.Token, nil)
}

func (s *shop) pay(t *testing.T, o order, key, token string, headers ...string) answer {
	t.Helper()
	return s.call(t, "POST", o.path()+"/payment", o.Token, object{"payment": object{"method": "card", "token": token}}, append(headers, "Idempotency-Key: "+key)...)
}

func isRefunded(o order) bool { return o.Payment.Status == "refunded" }

// TestCardTokens pays with every token of the contract.
func TestCardTokens(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	tokens := []struct{ token, status, payment, failure, steps string }{
		{"tok_visa", "placed", "captured", "", "pending captured"},
		{"tok_declined", "payment_failed", "failed", "card_declined", "pending failed"},
		{"tok_slow", "placed", "captured", "", "pending unknown captured"},
		{"tok_timeout", "placed", "captured", "", "pending unknown captured"},
		{"tok_flaky", "placed", "captured", "", "pending captured"},
		{"tok_nonsense", "payment_failed", "failed", "invalid_token", "pending failed"},
	}
	orders := make([]order, len(tokens))
	for i, x := range tokens {
		orders[i] = s.place(t, with(x.token)).wants(t, 202).order(t)
	}
	for i, x := range tokens {
		o := s.eventually(t, orders[i], 20*time.Second, func(o order) bool { return o.Status != "payment_pending" })
		if o.Status != x.status || o.Payment.Status != x.payment || o.Payment.Failure != x.failure {
			t.Errorf("%s: %s, payment %+v", x.token, o.Status, o.Payment)
		}
		if steps := s.paymentSteps(t, o); steps != x.steps || o.Version != strings.Count(steps, " ")+1 {
			t.Errorf("%s: version %d after %s", x.token, o.Version, steps)
		}
		s.checkLedger(t, o)
	}
	if n := s.intents(t); n != len(tokens)-1 { // of tok_nonsense there is none
		t.Errorf("%d intents for %d orders", n, len(tokens))
	}
	if n := s.count(t, `select count(*) from payments where status = 'captured' and provider_words is not null`); n != 0 {
		t.Errorf("%d captured payments keep what was said of them while they were unknown", n)
	}
	if n := s.count(t, `select count(*) from payments where token is not null`); n != 0 {
		t.Errorf("%d card tokens are still kept", n)
	}
}

// TestUnknownPayment has a provider that took the money and says nothing for a while.
func TestUnknownPayment(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, with(withheld), "Prefer: wait=1").wants(t, 202).order(t)
	failing := s.place(t, with(withheld)).wants(t, 202).order(t)
	isUnknown := func(o order) bool { return o.Payment.Status == "unknown" }
	for _, o := range []order{o, failing} {
		if o = s.eventually(t, o, 5*time.Second, isUnknown); o.Status != "payment_pending" || o.Payment.Captured != 0 {
			t.Errorf("an unknown payment makes a %s order with %d captured", o.Status, o.Payment.Captured)
		}
	}
	s.pay(t, o, "k", "tok_visa").wantsProblem(t, 409, "not_payable")
	if r := s.commands(t, s.device(t, testStore), command("start", object{"order": o.ID}))[0]; r.String() != "rejected not_paid" {
		t.Errorf("start is %s", r)
	}
	s.release(t, o, "succeeded")
	s.release(t, failing, "failed")
	o = s.eventually(t, o, 20*time.Second, func(o order) bool { return !isUnknown(o) })
	failing = s.eventually(t, failing, 20*time.Second, func(o order) bool { return !isUnknown(o) })
	if o.Status != "placed" || o.Payment.Status != "captured" || failing.Status != "payment_failed" || failing.Payment.Status != "failed" {
		t.Errorf("settled are %s %+v and %s %+v", o.Status, o.Payment, failing.Status, failing.Payment)
	}
	s.checkLedger(t, o)
	s.checkLedger(t, failing)
	if n := s.intents(t); n != 2 {
		t.Errorf("%d intents for 2 orders", n)
	}
}

// TestPayAgain fails twice and then pays.
func TestPayAgain(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	placing := uuid.NewString()
	placed := s.placeUnder(t, placing, with("tok_declined"), "Prefer: wait=10").wants(t, 201)
	o := placed.order(t)
	again := s.pay(t, o, "a", "tok_declined", "Prefer: wait=10").wants(t, 201)
	if now := again.order(t); now.Status != "payment_failed" || now.Payment.Failure != "card_declined" || now.Version != 4 || now.Token != "" {
		t.Errorf("declined again: %s", again.body)
	}
	if again.Header.Get("Location") != o.path() {
		t.Errorf("Location is %q", again.Header.Get("Location"))
	}
	paid := s.pay(t, o, "b", "tok_visa", "Prefer: wait=10").wants(t, 201)
	now := paid.order(t)
	if now.Status != "placed" || now.Payment.Captured != o.Total || now.Payment.Failure != "" || now.Version != 6 {
		t.Errorf("paid: %s", paid.body)
	}
	s.pay(t, o, "c", "tok_visa").wantsProblem(t, 409, "not_payable")
	s.do(t, s.device(t, testStore), "start", o, "applied")
	s.pay(t, o, "a", "tok_declined").wantsReplay(t, again)
	s.pay(t, o, "b", "tok_visa", "Prefer: wait=1").wantsReplay(t, paid)
	s.pay(t, o, "b", "tok_slow").wantsProblem(t, 422, "idempotency_key_reused")
	s.placeUnder(t, placing, with("tok_declined")).wantsReplay(t, placed)
	other := s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	s.pay(t, other, "b", "tok_visa").wantsProblem(t, 422, "idempotency_key_reused")
	s.checkLedger(t, s.get(t, o))
	// A refusal leaves the key unused, and without Prefer the answer does not wait.
	slow := s.pay(t, other, "c", "tok_slow").wants(t, 202)
	if now := slow.order(t); now.Status != "payment_pending" || now.Payment.Status != "pending" || now.Payment.Failure != "" {
		t.Errorf("without Prefer: %s", slow.body)
	}
	s.pay(t, other, "c", "tok_slow", "Prefer: wait=10").wantsReplay(t, slow)
	s.pay(t, other, "d", "tok_visa").wantsProblem(t, 409, "not_payable")
	statuses := []string{}
	for _, step := range s.get(t, o).History {
		statuses = append(statuses, step.Status)
	}
	if want := strings.Fields("payment_pending payment_failed payment_pending payment_failed payment_pending placed in_progress"); !slices.Equal(statuses, want) {
		t.Errorf("the history is %v", statuses)
	}
}

// TestPayAgainAtOnce pays a failed order many times at the same moment: under as many keys, and under one.
func TestPayAgainAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	o := s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	answers := together(t, 16, func(i int) answer {
		return []*shop{s, other}[i%2].pay(t, o, uuid.NewString(), "tok_visa", "Prefer: wait=10")
	})
	if n := countStatus(answers); n[201] != 1 || n[409] != 15 {
		t.Errorf("under 16 keys: %v", n)
	}
	s.checkLedger(t, s.get(t, o))
	o = s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	prefers := []string{"Prefer: wait=10", "Prefer: wait=0", "Prefer: wait=3"}
	answers = together(t, 16, func(i int) answer { return []*shop{s, other}[i%2].pay(t, o, "one", "tok_visa", prefers[i%3]) })
	replayed := 0
	for _, a := range answers {
		if string(a.body) != string(answers[0].body) || a.StatusCode != answers[0].StatusCode {
			t.Errorf("two answers under one key:\n%s\n%s", answers[0].body, a.body)
		}
		replayed += len(a.Header.Get("Idempotency-Replayed")) / len("true")
	}
	if replayed != 15 || answers[0].StatusCode >= 300 {
		t.Errorf("under one key: %d, %d replayed", answers[0].StatusCode, replayed)
	}
	paid := s.eventually(t, o, 5*time.Second, func(o order) bool { return o.Status == "placed" })
	s.checkLedger(t, paid)
	if n := s.count(t, `select count(*) from payments where order_id = $1`, o.ID); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}
