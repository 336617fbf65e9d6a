package jobs

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// giveBackOne refunds one unit of an order's line.
func (s *shop) giveBackOne(t *testing.T, o *db.Order) *db.Order {
	t.Helper()
	n := len(o.Refunds)
	s.decided(t, o.Ref(), db.GiveBack(db.RefundRequest{Lines: []db.LineUnits{{Line: 0, Quantity: 1}}, Reason: "cold"}, "staff:ada"))
	return s.await(t, o.Ref(), within, func(o *db.Order) bool { return len(o.Refunds) > n && o.Refunds[n].Status == db.RefundGiven })
}

// reconcile compares the books up to now and gives what is open then.
func (s *shop) reconcile(t *testing.T) []db.Difference {
	t.Helper()
	if err := s.jobs.Reconcile(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	return s.differences(t)
}

func (s *shop) differences(t *testing.T) []db.Difference {
	t.Helper()
	open, err := db.OpenDifferences(t.Context(), s.pool, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// decided moves an order on as staff do.
func (s *shop) decided(t *testing.T, ref db.OrderRef, decide db.Decision) *db.Order {
	t.Helper()
	o, err := s.orders.Advance(t.Context(), ref, decide)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func isPlaced(o *db.Order) bool { return o.Status == db.StatusPlaced }

func refundIs(status string) func(*db.Order) bool {
	return func(o *db.Order) bool { return len(o.Refunds) > 0 && o.Refunds[0].Status == status }
}

// TestByHandIsNoDifference hands the money of a refused refund over the counter: the provider gave nothing back, and our
// books do not say that it did.
func TestByHandIsNoDifference(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.await(t, s.place(t, "tok_refund_fails", nil).Ref(), within, isPlaced)
	s.cancelled(t, o)
	s.await(t, o.Ref(), within, refundIs(db.RefundRefused))
	o = s.decided(t, o.Ref(), db.RefundByHand(1, "staff:ada", "cash"))
	if o.Payment.Status != db.Refunded {
		t.Fatalf("by hand: %+v", o.Payment)
	}
	if found := s.reconcile(t); len(found) != 0 {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestByHandAndByCard hands the money of a refused refund over the counter, and the provider gives it back as well.
func TestByHandAndByCard(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.await(t, s.place(t, "tok_refund_fails_once", nil).Ref(), within, isPlaced)
	s.cancelled(t, o)
	s.await(t, o.Ref(), within, refundIs(db.RefundRefused))
	o = s.decided(t, o.Ref(), db.RefundByHand(1, "staff:ada", "cash"))
	if _, err := s.jobs.provider.Refund(t.Context(), "late", s.charge(t, o), o.Payment.Captured, time.Now()); err != nil {
		t.Fatal(err)
	}
	if found := s.reconcile(t); len(found) != 1 || found[0].Kind != "refund_without_record" || found[0].Ours != 0 || found[0].Provider != o.Payment.Captured {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestRefundTwiceOverDays has the provider give one of three lattes back twice, so far apart that no window has both: in the
// second one it gave back as much as our books say of the order.
func TestRefundTwiceOverDays(t *testing.T) {
	t.Parallel()
	var earlier atomic.Pointer[string]
	s := openShop(t, hiding(&earlier, "created[gte]"))
	o := s.await(t, s.placeMany(t, 3, "tok_visa", nil).Ref(), within, isPlaced)
	o = s.giveBackOne(t, o)
	earlier.Store(&o.Refunds[0].Ref)
	if _, err := s.jobs.provider.Refund(t.Context(), "another key", s.charge(t, o), o.Payment.Refunded, time.Now()); err != nil {
		t.Fatal(err)
	}
	if found := s.reconcile(t); len(found) != 1 || found[0].Kind != "refund_without_record" || found[0].Provider != 2*o.Payment.Refunded {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestOneRefundOfTwoIsMissing has the provider's books lack the second refund of an order.
func TestOneRefundOfTwoIsMissing(t *testing.T) {
	t.Parallel()
	var lost atomic.Pointer[string]
	s := openShop(t, hiding(&lost, "created[gte]"), hiding(&lost, "payment_intent"))
	o := s.await(t, s.placeMany(t, 3, "tok_visa", nil).Ref(), within, isPlaced)
	o = s.giveBackOne(t, s.giveBackOne(t, o))
	lost.Store(&o.Refunds[1].Ref)
	if found := s.reconcile(t); len(found) != 1 || found[0].Kind != "refund_missing" || found[0].Provider != o.Refunds[0].Amount {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestPendingRefundIsNoDifference has the provider take its time with a refund that both sides know of.
func TestPendingRefundIsNoDifference(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.await(t, s.place(t, "tok_refund_pending", nil).Ref(), within, isPlaced)
	s.cancelled(t, o)
	s.until(t, "the provider knows of the refund", func() bool {
		return slices.ContainsFunc(s.ledger(t, o), func(e entry) bool { return e.Kind == "refund_pending" })
	})
	s.exec(t, `update payments set updated_at = now() - interval '3 minutes' where order_id = $1`, o.ID)
	if found := s.reconcile(t); len(found) != 0 {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestRefundThatComesBack has the provider say days later that it could not give back what it had given back: staff are
// shown it, also while another refund of the order is under way.
func TestRefundThatComesBack(t *testing.T) {
	t.Parallel()
	var bounced atomic.Bool
	var s *shop
	s = openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if !bounced.Load() || r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/v1/refunds") {
			return nil, nil
		}
		resp, err := s.bank.RoundTrip(r)
		return reworded(resp, err, `"status":"succeeded"`, `"status":"failed","failure_reason":"lost_or_stolen_card"`)
	}))
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	s.cancelled(t, o)
	o = s.await(t, o.Ref(), within, refundIs(db.RefundGiven))
	bounced.Store(true)
	s.tell(t, "evt_bounced", "refund.failed", o.Refunds[0].Ref)
	s.until(t, "it is shown to staff", func() bool {
		return slices.ContainsFunc(s.differences(t), func(d db.Difference) bool {
			return d.Kind == "refund_missing" && d.Provider == 0 && d.Ours == o.Payment.Refunded
		})
	})
}

// until waits for a condition of the database or the provider.
func (s *shop) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	dbtest.Becomes(t, within, what, holds)
}

// TestOneChargeDoesNotStopReconciliation has an open difference about which the provider gives no answer, one among many:
// a new one is found none the less.
func TestOneChargeDoesNotStopReconciliation(t *testing.T) {
	t.Parallel()
	s := openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/pi_mute") {
			return answered(http.StatusInternalServerError, map[string]any{"error": map[string]any{"type": "api_error", "message": "no"}})
		}
		return nil, nil
	}))
	if _, err := db.KeepDifferences(t.Context(), s.pool, nil, []db.Difference{{Kind: "charge_without_order", Ref: "pi_mute", Words: "as it was"}, {Kind: "charge_without_order", Ref: "pi_gone", Words: "as it was"}}); err != nil {
		t.Fatal(err)
	}
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	s.exec(t, `update payments set amount = amount + 1 where order_id = $1`, o.ID)
	if err := s.jobs.Reconcile(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	wantsOpen(t, s.differences(t), "amount_differs "+s.charge(t, o).Intent, "charge_not_read pi_mute", "charge_without_order pi_mute")
}

// wantsOpen wants these kinds and intents, and no others.
func wantsOpen(t *testing.T, found []db.Difference, want ...string) {
	t.Helper()
	var have []string
	for _, d := range found {
		have = append(have, d.Kind+" "+d.Ref)
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("open are %q, want %q", have, want)
	}
}

// TestUnreadableChargeHoldsNothingBack has a charge of the time that is compared about which the provider gives no answer: it
// is open until there is one.
func TestUnreadableChargeHoldsNothingBack(t *testing.T) {
	t.Parallel()
	var mute atomic.Pointer[string]
	s := openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if id := mute.Load(); id != nil && r.URL.Path == intentsPath+"/"+*id {
			return answered(http.StatusInternalServerError, map[string]any{"error": map[string]any{"type": "api_error", "message": "no"}})
		}
		return nil, nil
	}))
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	s.exec(t, `update payments set amount = amount + 1 where order_id = $1`, o.ID)
	intent := s.charge(t, o).Intent
	mute.Store(&intent)
	wantsOpen(t, s.reconcile(t), "charge_not_read "+intent)
	if last, err := db.LastReconciliation(t.Context(), s.pool); err != nil || time.Since(last.DoneUntil) > unsettledFor+time.Minute {
		t.Errorf("done until %v (%v)", last, err)
	}
	mute.Store(nil)
	wantsOpen(t, s.reconcile(t), "amount_differs "+intent)
}

// TestManyRefundsOfOneCharge gives an order back in more pieces than a page of the provider's lists has.
func TestManyRefundsOfOneCharge(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	charge := s.charge(t, o)
	for n := range listPage + 1 {
		if _, err := s.jobs.provider.Refund(t.Context(), fmt.Sprintf("piece-%d", n), charge, 1, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if found := s.reconcile(t); len(found) != 1 || found[0].Provider != listPage+1 {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestRefundOfNoIntent has another shop of the same account give back a charge that was made without an intent. Whoever
// asks for the intent of no name gets a list.
func TestRefundOfNoIntent(t *testing.T) {
	t.Parallel()
	s := openShop(t, through(func(r *http.Request) (*http.Response, error) {
		switch {
		case r.URL.Path == refundsPath && r.URL.Query().Has("created[gte]"):
			return page(map[string]any{"id": "re_1", "amount": 100, "status": "succeeded", "payment_intent": nil})
		case r.URL.Path == intentsPath+"/":
			return page()
		}
		return nil, nil
	}))
	if found := s.reconcile(t); len(found) != 0 {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestRefundBetweenTheReads has a refund go through after the provider was asked for it and before our books are.
func TestRefundBetweenTheReads(t *testing.T) {
	t.Parallel()
	var refund atomic.Pointer[func()]
	var s *shop
	s = openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet || !r.URL.Query().Has("payment_intent") {
			return nil, nil
		}
		resp, err := s.bank.RoundTrip(r)
		if now := refund.Swap(nil); now != nil {
			(*now)()
		}
		return resp, err
	}))
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	if _, err := db.KeepDifferences(t.Context(), s.pool, nil, []db.Difference{{Kind: "refund_missing", Ref: s.charge(t, o).Intent, Words: "as it was"}}); err != nil {
		t.Fatal(err)
	}
	now := func() {
		s.cancelled(t, o)
		s.await(t, o.Ref(), within, refundIs(db.RefundGiven))
	}
	refund.Store(&now)
	if found := s.reconcile(t); len(found) != 0 || refund.Load() != nil {
		t.Errorf("the books differ: %+v", found)
	}
}

// TestMoneyTakenLate has the provider take the money of an order long after the books were compared over the time of its
// making, while no job of ours is at it.
func TestMoneyTakenLate(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.withIntent(t, s.forgotten(t, "tok_visa"))
	if err := s.jobs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec(t, `update payments set updated_at = now() - interval '3 minutes' where order_id = $1`, o.ID)
	if err := db.Reconciled(t.Context(), s.pool, time.Now().Add(time.Hour), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	c := s.charge(t, o)
	if heard := s.jobs.provider.Confirm(t.Context(), c); heard.Word != told {
		t.Fatal(heard)
	}
	if err := s.jobs.Reconcile(t.Context(), time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if found := s.differences(t); len(found) != 1 || found[0].Kind != "charge_not_settled" || found[0].Ref != c.Intent {
		t.Errorf("the books differ: %+v", found)
	}
}
