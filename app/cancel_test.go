package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

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
