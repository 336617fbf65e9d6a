package main

import (
	"testing"
	"time"
)

// TestCoffee is the main job: an order is placed and charged, a barista makes it, the customer collects it.
func TestCoffee(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	placing := s.place(t, latte(nil)).wants(t, 202)
	o := placing.order(t)
	if o.Status != "payment_pending" || o.Version != 1 || o.Payment.Status != "pending" || o.Token == "" || o.Total != o.Subtotal+o.Tax {
		t.Fatalf("the placing answer is %s", placing.body)
	}
	if placing.Header.Get("Location") != o.path() {
		t.Errorf("Location is %q", placing.Header.Get("Location"))
	}
	o = s.eventually(t, o, 5*time.Second, func(o order) bool { return o.Status == "placed" })
	if o.Payment.Captured != o.Total {
		t.Errorf("captured %d of %d", o.Payment.Captured, o.Total)
	}
	s.do(t, board, "start", o, "applied")
	s.do(t, board, "ready", o, "applied")
	s.do(t, board, "collect", o, "applied")
}
