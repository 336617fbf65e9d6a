package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
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
	return (&db.Charge{OrderRef: db.OrderRef{StoreID: storeID, ID: uuid.MustParse(o.ID)}}).Reference()
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
	becomes(t, 5*time.Second, "the provider knows of the charge", func() bool {
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

// TestCancel cancels an order in every state in which somebody might want to.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.changeMenu(t, s.staff(t, "mia", db.Manager), func(m *db.Menu) { *m.Item("croissant").BasePrice = 0 })
	board := s.device(t, testStore)
	free, freeAtCounter := latte(croissant), atCounter()
	freeAtCounter["lines"] = croissant["lines"]
	for name, x := range map[string]struct {
		body            object
		payment, settle string
	}{
		"failed":                  {with("tok_declined"), "void", "void"},
		"placed":                  {latte(object{"tip": 100}), "refund_pending", "refunded"},
		"counter":                 {atCounter(), "void", "void"},
		"zero total":              {free, "void", "void"},
		"zero total, the counter": {freeAtCounter, "void", "void"},
	} {
		o := s.place(t, x.body, "Prefer: wait=10").wants(t, 201).order(t)
		a := s.call(t, "POST", o.path()+"/cancel", o.Token, object{"reason": "rain"}).wants(t, 200)
		now := a.order(t)
		if now.Status != "cancelled" || now.Payment.Status != x.payment || now.Version != o.Version+1 || now.History[len(now.History)-1].By != "customer" {
			t.Errorf("%s: %s", name, a.body)
		}
		now = s.eventually(t, o, 15*time.Second, func(o order) bool { return o.Payment.Status == x.settle })
		if again := s.cancel(t, o).wants(t, 200).order(t); again.Version != now.Version || again.Payment != now.Payment {
			t.Errorf("%s: cancelled again it is %+v", name, again)
		}
		s.checkLedger(t, now)
	}
	o := s.placed(t, latte(nil))
	s.call(t, "POST", o.path()+"/cancel", o.Token, object{"reason": strings.Repeat("x", 201)}).wantsProblem(t, 422, "invalid", "/reason")
	for _, kind := range []string{"start", "ready", "collect"} {
		s.do(t, board, kind, o, "applied")
		s.cancel(t, o).wantsProblem(t, 409, "not_cancellable")
	}
	s.checkLedger(t, s.get(t, o))
}

// TestCancelAtOnce lets everybody cancel at the same time, and a barista start meanwhile.
func TestCancelAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	board := s.device(t, testStore)
	o := s.placed(t, latte(nil))
	for _, a := range together(t, 16, func(i int) answer { return []*shop{s, other}[i%2].cancel(t, o) }) {
		if now := a.wants(t, 200).order(t); now.Status != "cancelled" {
			t.Errorf("cancelled, it is %s", now.Status)
		}
	}
	s.checkLedger(t, s.eventually(t, o, 15*time.Second, isRefunded))
	for range 10 {
		o := s.placed(t, latte(nil))
		var started result
		answers := together(t, 2, func(i int) answer {
			if i == 0 {
				return s.cancel(t, o)
			}
			started = other.commands(t, board, command("start", object{"order": o.ID}))[0]
			return answer{}
		})
		now := s.get(t, o)
		switch {
		case answers[0].StatusCode == 200 && started.String() == "conflict cancelled" && now.Status == "cancelled":
		case answers[0].StatusCode == 409 && started.Result == "applied" && now.Status == "in_progress":
		default:
			t.Errorf("cancel: %d, start: %s, the order is %s", answers[0].StatusCode, started, now.Status)
		}
	}
}

// TestCancelWhilePaying cancels while the provider is at it: what it took comes back by itself, and no
// success revives the order.
func TestCancelWhilePaying(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var orders []order
	for range 8 {
		for _, token := range []string{"tok_visa", "tok_slow", "tok_timeout", "tok_flaky", "tok_declined"} {
			o := s.place(t, with(token)).wants(t, 202).order(t)
			if now := s.cancel(t, o).wants(t, 200).order(t); now.Status != "cancelled" {
				t.Errorf("%s: cancelled, it is %s", token, now.Status)
			}
			orders = append(orders, o)
		}
	}
	for _, o := range orders {
		now := s.eventually(t, o, 20*time.Second, func(o order) bool { return isRefunded(o) || o.Payment.Status == "void" })
		if now.Status != "cancelled" || now.History[len(now.History)-1].Status != "cancelled" {
			t.Errorf("it became %s: %v", now.Status, now.History)
		}
		s.checkLedger(t, now)
		s.pay(t, o, uuid.NewString(), "tok_visa").wantsProblem(t, 409, "not_payable")
	}
}

// TestCancelAfterCrash cancels an order whose process died between the provider's charge and its record.
func TestCancelAfterCrash(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	if err := s.api.jobs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := s.place(t, latte(nil)).wants(t, 202).order(t)
	s.chargeUnseen(t, o)
	if n := s.count(t, `with begun as (
    update river_job set attempt = 1 where kind = 'charge' and finalized_at is null returning id)
    select count(*) from begun`); n != 1 {
		t.Fatal("there is no crash to recover from")
	}
	if now := s.cancel(t, o).wants(t, 200).order(t); now.Status != "cancelled" || now.Payment.Status != "pending" {
		t.Errorf("cancelled, it is %s, its payment %s", now.Status, now.Payment.Status)
	}
	next := openShopOn(t, s.databaseURL)
	next.checkLedger(t, next.eventually(t, o, 20*time.Second, isRefunded))
}

// chargeUnseen makes the provider charge an order, and the process end before it could take note of more than the
// intent.
func (s *shop) chargeUnseen(t *testing.T, o order) {
	t.Helper()
	c, provider := s.chargeOf(t, o), s.bank(t).provider()
	c.Intent = provider.Create(t.Context(), c).Intent.ID
	if stored, err := db.StoreIntents(t.Context(), s.api.pool, []*db.Charge{c}); err != nil || !stored[c.OrderRef] {
		t.Fatal(stored, err)
	}
	if confirmed := provider.Confirm(t.Context(), c); confirmed.Err != nil {
		t.Fatal(confirmed)
	}
}

// TestTimers lets orders expire that nobody paid, and abandons those that nobody collected.
func TestTimers(t *testing.T) {
	t.Parallel()
	s := openShop(t, "EXPIRE_AFTER=1s", "ABANDON_AFTER=1s")
	board := s.device(t, testStore)
	charged, declined := s.place(t, with(withheld)).order(t), s.place(t, with(withheld)).order(t)
	failed := s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	placed, waiting := s.placed(t, latte(nil)), s.place(t, atCounter()).wants(t, 201).order(t)
	ready, unpaid := s.placed(t, latte(nil)), s.place(t, atCounter()).wants(t, 201).order(t)
	s.do(t, board, "ready", ready, "applied")
	s.do(t, board, "ready", unpaid, "applied")
	for o, want := range map[*order][2]string{
		&charged: {"expired", "pending or unknown"}, &declined: {"expired", "pending or unknown"}, &failed: {"expired", "void"},
		&ready: {"abandoned", "captured"}, &unpaid: {"abandoned", "void"},
	} {
		now := s.eventually(t, *o, 15*time.Second, func(o order) bool { return o.Status == want[0] })
		if !strings.Contains(want[1], now.Payment.Status) || now.History[len(now.History)-1].By != "timer" {
			t.Errorf("%s: payment %s, history %v", want[0], now.Payment.Status, now.History)
		}
		s.pay(t, *o, uuid.NewString(), "tok_visa").wantsProblem(t, 409, "not_payable")
		s.cancel(t, *o).wantsProblem(t, 409, "not_cancellable")
	}
	s.release(t, charged, "succeeded")
	s.release(t, declined, "failed")
	s.checkLedger(t, s.eventually(t, charged, 15*time.Second, isRefunded))
	s.checkLedger(t, s.eventually(t, declined, 15*time.Second, func(o order) bool { return o.Payment.Status == "void" }))
	for _, o := range []order{charged, declined} {
		if now := s.get(t, o); now.Status != "expired" {
			t.Errorf("expired, then %s", now.Status)
		}
	}
	for _, o := range []order{placed, waiting} {
		if now := s.get(t, o); now.Status != "placed" {
			t.Errorf("an order that waits to be made is %s", now.Status)
		}
	}
}
