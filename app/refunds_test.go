package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// given is a refund as clients see it.
type given struct {
	Amount, Tax, Tip int64
	Status, Reason   string
	Lines            []struct{ Line, Quantity int }
}

func (a answer) refunds(t *testing.T) []given {
	t.Helper()
	var o struct{ Refunds []given }
	a.into(t, &o)
	return o.Refunds
}

// large is an order of three large lattes and a croissant, with a tip.
func large(changes object) object {
	body := latte(object{"tip": 150, "lines": []object{
		{"item": "latte", "size": "large", "quantity": 3}, {"item": "croissant", "quantity": 1},
	}})
	for name, value := range changes {
		body[name] = value
	}
	return body
}

// units is the body of a refund of units of some lines: line, quantity, line, quantity.
func units(parts ...int) object {
	lines := []object{}
	for i := 0; i < len(parts); i += 2 {
		lines = append(lines, object{"line": parts[i], "quantity": parts[i+1]})
	}
	return object{"lines": lines, "reason": "it was cold"}
}

func withTip(body object) object {
	body["tip"] = true
	return body
}

// refund asks for one of the order as it was seen.
func (s *shop) refund(t *testing.T, staff string, o order, body object) answer {
	t.Helper()
	return s.call(t, "POST", o.path()+"/refunds", staff, body, fmt.Sprintf(`If-Match: "%d"`, o.Version))
}

func (s *shop) settled(t *testing.T, o order) order {
	t.Helper()
	return s.eventually(t, o, 15*time.Second, func(o order) bool { return o.Payment.Status != "refund_pending" })
}

// legs are the rows of the ledger of an order, one after the other.
func (s *shop) legs(t *testing.T, o order) (rows []string) {
	t.Helper()
	var text string
	err := s.api.pool.QueryRow(t.Context(), `
    select coalesce(string_agg(concat_ws(' ', kind, card, till, sales, tax, tips), ', ' order by version), '')
    from ledger where order_id = $1`, o.ID).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(text, ", ")
}

// checkBooks holds the ledger against the orders: it balances, and what it has is what they have kept.
func (s *shop) checkBooks(t *testing.T) {
	t.Helper()
	ledger := func(sum string) int { return s.count(t, `select coalesce(sum(`+sum+`), 0) from ledger`) }
	kept := s.count(t, `select coalesce(sum(captured - refunded), 0) from orders`)
	byHand := s.count(t, `
    select coalesce(sum(r.amount), 0) from refunds r join orders o on o.id = r.order_id where r.method = 'till' and o.payment_method = 'card'`)
	card := s.count(t, `select coalesce(sum(captured - refunded), 0) from orders where payment_method = 'card'`)
	if rest, took, by := ledger("card + till + sales + tax + tips"), ledger("card + till"), ledger("card"); rest != 0 || took != kept || by != card+byHand {
		t.Errorf("the ledger has %d, of which %d by card and %d for nothing, the orders %d, of which %d by card", took, by, rest, kept, card)
	}
	if n := s.count(t, `
    select count(*)
    from orders o
    where (o.captured, o.refunded) <> (select coalesce(sum(card + till) filter (where kind = 'capture'), 0), -coalesce(sum(card + till) filter (where kind = 'refund'), 0)
                                       from ledger l where l.store_id = o.store_id and l.order_id = o.id)
       or o.refunded <> (select coalesce(sum(amount), 0) from refunds r where r.store_id = o.store_id and r.order_id = o.id and status = 'done')`); n != 0 {
		t.Errorf("%d orders are not what their books say", n)
	}
}

// TestRefundByLine gives a paid order back piece by piece, after it was picked up.
func TestRefundByLine(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia, board := s.staff(t, "mia", db.Support), s.device(t, testStore)
	o := s.placed(t, large(object{"customer": object{"name": "Ada", "email": "ada@example.com"}}))
	for _, kind := range []string{"ready", "collect"} {
		s.do(t, board, kind, o, "applied")
	}
	o.Version = s.get(t, o).Version
	a := s.refund(t, mia, o, units(0, 2)).wants(t, 202)
	now, refunds := a.order(t), a.refunds(t)
	if now.Status != "picked_up" || now.Payment.Status != "refund_pending" || now.Payment.Refunded != 0 || now.Version != o.Version+1 {
		t.Errorf("asked for: %s", a.body)
	}
	if a.Header.Get("ETag") != `"`+strconv.Itoa(now.Version)+`"` || len(refunds) != 1 || refunds[0].Status != "pending" || refunds[0].Reason != "it was cold" {
		t.Errorf("asked for: %v %s", a.Header, a.body)
	}
	now = s.settled(t, o)
	if now.Payment.Status != "partially_refunded" || now.Payment.Refunded != refunds[0].Amount || now.Status != "picked_up" {
		t.Errorf("given back: %+v", now.Payment)
	}
	s.checkLedger(t, now)
	dbtest.Becomes(t, 5*time.Second, "the customer is told", func() bool {
		return s.count(t, `select count(*) from notification_log where kind = 'refund_issued' and subject = $1`, o.ID) == 1
	})
	for _, body := range []object{units(0, 1), withTip(units()), units(1, 1)} {
		s.refund(t, mia, now, body).wants(t, 202)
		now = s.settled(t, o)
	}
	if now.Payment.Status != "refunded" || now.Payment.Refunded != o.Total {
		t.Errorf("all is back: %+v of %d", now.Payment, o.Total)
	}
	var tax, tip, all int64
	for _, r := range s.call(t, "GET", o.path(), o.Token, nil).refunds(t) {
		tax, tip, all = tax+r.Tax, tip+r.Tip, all+r.Amount
	}
	if tax != o.Tax || tip != o.Tip || all != o.Total {
		t.Errorf("the refunds have tax %d of %d, tip %d of %d, %d of %d", tax, o.Tax, tip, o.Tip, all, o.Total)
	}
	s.refund(t, mia, now, units(0, 1)).wantsProblem(t, 409, "not_refundable")
	if n := s.count(t, `select count(*) from notification_log where kind = 'refund_issued' and subject = $1`, o.ID); n != 1 {
		t.Errorf("the customer was told %d times", n)
	}
	if rows := s.legs(t, o); len(rows) != 5 || rows[0] != fmt.Sprintf("capture %d 0 %d %d %d", o.Total, -o.Subtotal, -o.Tax, -o.Tip) || rows[3] != "refund -150 0 0 0 150" {
		t.Errorf("the ledger has %q", rows)
	}
	s.checkLedger(t, now)
	s.checkBooks(t)
}

// TestRefundRefusals asks for what cannot be given back.
func TestRefundRefusals(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.staff(t, "mia", db.Manager)
	s.changeMenu(t, mia, func(m *db.Menu) { *m.Item("croissant").BasePrice = 0 })
	o := s.placed(t, large(object{"tip": 0}))
	s.call(t, "POST", o.path()+"/refunds", mia, units(0, 1)).wantsProblem(t, 428, "precondition_required")
	s.call(t, "POST", o.path()+"/refunds", mia, units(0, 1), `If-Match: "1"`).wantsProblem(t, 412, "precondition_failed")
	s.call(t, "POST", o.path()+"/refunds", mia, units(0, 1), `If-Match: W/"`+strconv.Itoa(o.Version)+`"`).wantsProblem(t, 412, "precondition_failed")
	for name, x := range map[string]struct {
		body     object
		pointers []string
	}{
		"nothing":          {units(), []string{"/lines"}},
		"a free croissant": {units(1, 1), []string{"/lines"}},
		"no such line":     {units(2, 1, 0, 1), []string{"/lines/0/line"}},
		"too many":         {units(0, 4), []string{"/lines/0/quantity"}},
		"none of a line":   {units(0, 0), []string{"/lines/0/quantity"}},
		"a line twice":     {units(0, 1, 0, 1), []string{"/lines/1/line"}},
		"no tip":           {withTip(units(0, 1)), []string{"/tip"}},
		"all at once":      {withTip(units(7, 1, 0, 9, -1, 1)), []string{"/tip", "/lines/0/line", "/lines/1/quantity", "/lines/2/line"}},
		"no reason":        {object{"lines": []object{{"line": 0, "quantity": 1}}}, []string{"/reason"}},
		"not a body":       {object{"lines": 3, "tip": "yes", "reason": "", "amount": 7}, []string{"/lines", "/tip", "/reason", "/amount"}},
	} {
		t.Run(name, func(t *testing.T) { s.refund(t, mia, o, x.body).wantsProblem(t, 422, "invalid", x.pointers...) })
	}
	if now := s.get(t, o); now.Version != o.Version {
		t.Errorf("refused, and yet it is version %d", now.Version)
	}
	unpaid, declined := s.place(t, atCounter()).order(t), s.place(t, with("tok_declined"), "Prefer: wait=10").order(t)
	s.refund(t, mia, unpaid, units(0, 1)).wantsProblem(t, 409, "not_refundable")
	s.refund(t, mia, declined, units(0, 1)).wantsProblem(t, 409, "not_refundable")
	for _, token := range []string{o.Token, s.device(t, testStore)} {
		s.refund(t, token, o, units(0, 1)).wantsProblem(t, 403, "forbidden")
	}
	s.checkBooks(t)
}

// TestRefundTwiceAtOnce double-clicks: one refund is made, whoever clicks how often.
func TestRefundTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	tokens := []string{s.staff(t, "mia", db.Admin), s.staff(t, "joe", db.Support)}
	o := s.placed(t, large(nil))
	answers := together(t, 16, func(i int) answer { return []*shop{s, other}[i%2].refund(t, tokens[i/2%2], o, units(0, 1)) })
	if n := countStatus(answers); n[202] != 1 || n[412] != 15 {
		t.Errorf("answered %v", n)
	}
	now := s.settled(t, o)
	if now.Payment.Status != "partially_refunded" || s.count(t, `select count(*) from refunds`) != 1 || s.bank(t).accounts(t)[o.ID].Refunds != 1 {
		t.Errorf("%+v", now.Payment)
	}
	s.checkLedger(t, now)
	s.checkBooks(t)
}

// TestCancelAfterRefund cancels what is partly refunded, also while that refund is on its way: only the rest goes back.
func TestCancelAfterRefund(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.staff(t, "mia", db.Support)
	for _, wait := range []bool{true, false} {
		o := s.placed(t, large(nil))
		part := s.refund(t, mia, o, withTip(units(0, 2))).wants(t, 202).refunds(t)[0]
		if wait {
			s.settled(t, o)
		}
		a := s.cancel(t, o).wants(t, 200)
		refunds := a.refunds(t)
		if len(refunds) != 2 || refunds[1].Amount != o.Total-part.Amount || refunds[1].Tip != 0 || len(refunds[1].Lines) != 2 || refunds[1].Lines[0].Quantity != 1 {
			t.Errorf("the rest of %+v is %s", part, a.body)
		}
		now := s.eventually(t, o, 15*time.Second, isRefunded)
		if now.Status != "cancelled" || now.Payment.Refunded != o.Total {
			t.Errorf("%s, %+v", now.Status, now.Payment)
		}
		s.checkLedger(t, now)
	}
	whole := s.placed(t, latte(nil))
	s.refund(t, mia, whole, units(0, 1)).wants(t, 202)
	s.eventually(t, whole, 15*time.Second, isRefunded)
	if now := s.cancel(t, whole).wants(t, 200); now.order(t).Payment.Status != "refunded" || len(now.refunds(t)) != 1 {
		t.Errorf("cancelled after all was refunded: %s", now.body)
	}
	s.checkBooks(t)
}

// TestRefundAtTheTill hands back at once what was paid at the counter.
func TestRefundAtTheTill(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia, board := s.staff(t, "mia", db.Support), s.device(t, testStore)
	o := s.place(t, large(object{"fulfilment": "in_store", "payment": object{"method": "counter"}})).order(t)
	s.do(t, board, "take_payment", o, "applied")
	a := s.refund(t, mia, s.get(t, o), withTip(units(0, 1))).wants(t, 200)
	r := a.refunds(t)[0]
	if now := a.order(t); now.Payment.Status != "partially_refunded" || r.Status != "done" || now.Payment.Refunded != r.Amount {
		t.Errorf("refunded at the till: %s", a.body)
	}
	if now := s.cancel(t, o).wants(t, 200).order(t); now.Payment.Status != "refunded" || now.Payment.Refunded != o.Total {
		t.Errorf("cancelled: %+v", now.Payment)
	}
	sales := r.Amount - r.Tax - r.Tip
	want := []string{
		fmt.Sprintf("capture 0 %d %d %d %d", o.Total, -o.Subtotal, -o.Tax, -o.Tip), fmt.Sprintf("refund 0 %d %d %d %d", -r.Amount, sales, r.Tax, r.Tip),
		fmt.Sprintf("refund 0 %d %d %d 0", r.Amount-o.Total, o.Subtotal-sales, o.Tax-r.Tax),
	}
	if rows := s.legs(t, o); fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("the ledger has %q, want %q", rows, want)
	}
	s.checkBooks(t)
}

// TestRefundOfADeadProcess loses the job of a refund: the sweeper finds the refund.
func TestRefundOfADeadProcess(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.staff(t, "mia", db.Support)
	o := s.placed(t, large(nil))
	if err := s.api.jobs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.refund(t, mia, o, units(0, 1)).wants(t, 202)
	if n := s.count(t, `with gone as (delete from river_job where kind = 'refund' returning id), old as (
    update refunds set updated_at = now() - interval '1 minute' returning n)
    select (select count(*) from gone) + (select count(*) from old)`); n != 2 {
		t.Fatalf("there is nothing to find again: %d", n)
	}
	next := openShopOn(t, s.databaseURL)
	next.checkLedger(t, next.settled(t, o))
	next.checkBooks(t)
}

// TestWhyTheBaristaCancelled is for the shop: what a barista wrote was never shown to the customer.
func TestWhyTheBaristaCancelled(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.placed(t, latte(nil))
	s.do(t, board, "cancel", o, "applied", object{"reason": "rude again, ban her"})
	s.settled(t, o)
	if a := s.call(t, "GET", o.path(), o.Token, nil); strings.Contains(string(a.body), "rude") {
		t.Errorf("%s", a.body)
	}
}
