package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db/dbtest"
)

// TestSlowAnswer has repeats of a request that waits for a slow provider: they wait for its answer too,
// whatever they prefer; those of one that does not wait get their answer at once.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	slow := latte(object{"payment": object{"method": "card", "token": "tok_slow"}})
	prefers := []string{"Prefer: wait=10", "Prefer: wait=1", ""}
	var keys [3]string
	for i := range keys {
		keys[i] = uuid.NewString()
	}
	took := make([]time.Duration, 12)
	began := time.Now()
	answers := together(t, 12, func(n int) answer {
		i, j := n/4, n%4
		prefer := prefers[i]
		if j > 0 {
			prefer = prefers[j-1]
			dbtest.Becomes(t, 5*time.Second, "the order is placed", func() bool {
				return s.count(t, `select count(*) from idempotency_keys where key = $1`, keys[i]) == 1
			})
		}
		defer func() { took[n] = time.Since(began) }()
		return s.placeUnder(t, keys[i], slow, headers(prefer)...)
	})
	for i, want := range []struct {
		status        int
		payment       string
		after, before time.Duration
	}{{201, "captured", 4 * time.Second, 8 * time.Second}, {202, "pending", 900 * time.Millisecond, 3 * time.Second}, {202, "pending", 0, 2 * time.Second}} {
		first := answers[4*i].wants(t, want.status)
		if o := first.order(t); o.Payment.Status != want.payment {
			t.Errorf("%q: %s", prefers[i], first.body)
		}
		for j := range 4 {
			if j > 0 {
				answers[4*i+j].wantsReplay(t, first)
			}
			if took := took[4*i+j]; took < want.after || took > want.before {
				t.Errorf("%q: answer %d took %v", prefers[i], j, took)
			}
		}
	}
}

// TestKeyAfterCrash finds keys whose first request never got its answer, because its process died: the next
// repeat waits no longer than the first would have, and what it gets stands.
func TestKeyAfterCrash(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	other := openShopOn(t, s.databaseURL)
	board := s.device(t, testStore)
	crash := func(key string, body object, waitUntil time.Time) {
		s.placeUnder(t, key, body, "Prefer: wait=1").wants(t, 201)
		if n := s.count(t, `with crashed as (
    update idempotency_keys set status = null, answer = null, wait_until = $2 where key = $1 returning key)
    select count(*) from crashed`, key, waitUntil); n != 1 {
			t.Fatalf("%d keys", n)
		}
	}
	for name, until := range map[string]time.Time{"waited": time.Now().Add(-time.Hour), "waiting": time.Now().Add(time.Minute)} {
		key := "placed-" + name
		crash(key, latte(nil), until)
		answers := together(t, 8, func(i int) answer { return []*shop{s, other}[i%2].placeUnder(t, key, latte(nil)) })
		o := answers[0].wants(t, http.StatusCreated).order(t)
		if o.Status != "placed" || o.Payment.Status != "captured" {
			t.Errorf("%s: %s", name, answers[0].body)
		}
		s.do(t, board, "start", o, "applied")
		for _, a := range append(answers[1:], other.placeUnder(t, key, latte(nil), "Prefer: wait=10")) {
			if a.StatusCode != 201 || !bytes.Equal(a.body, answers[0].body) || a.Header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s: the first repeat got\n%s\nanother %d\n%s", name, answers[0].body, a.StatusCode, a.body)
			}
		}
	}
	if n := s.orderCount(t); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// TestKeyOfPaymentAfterCrash is the same for paying again, where the order has moved on meanwhile.
func TestKeyOfPaymentAfterCrash(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	s.pay(t, o, "k", "tok_visa", "Prefer: wait=10").wants(t, 201)
	if _, err := s.api.pool.Exec(t.Context(), `update idempotency_keys set status = null, answer = null, wait_until = null where key = 'k'`); err != nil {
		t.Fatal(err)
	}
	s.do(t, s.device(t, testStore), "start", o, "applied")
	first := s.pay(t, o, "k", "tok_visa").wants(t, 201)
	if now := first.order(t); now.Status != "in_progress" || now.Payment.Captured != o.Total || first.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("after a crash: %s", first.body)
	}
	s.do(t, s.device(t, testStore), "ready", o, "applied")
	if again := s.pay(t, o, "k", "tok_visa", "Prefer: wait=10").wants(t, 201); !bytes.Equal(again.body, first.body) {
		t.Errorf("the answer changed from\n%s to\n%s", first.body, again.body)
	}
	s.checkLedger(t, s.get(t, o))
}

// TestWaitCutShort ends a wait before its time: the process is stopped, or the client hangs up. The order
// stands, and whoever asks again gets what was said, or what is said next.
func TestWaitCutShort(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	closing := openShopOn(t, s.databaseURL)
	slow := with("tok_timeout")
	answers := together(t, 3, func(i int) answer {
		switch i {
		case 0:
			return closing.placeUnder(t, "stopped", slow, "Prefer: wait=10")
		case 1:
			dbtest.Becomes(t, 5*time.Second, "the order is placed", func() bool { return s.count(t, `select count(*) from idempotency_keys where key = 'stopped'`) == 1 })
			if err := closing.Close(t.Context()); err != nil {
				t.Error(err)
			}
		default:
			s.hangUp(t, "gone", slow)
		}
		return answer{}
	})
	stopped := answers[0].wants(t, 202)
	s.placeUnder(t, "stopped", slow, "Prefer: wait=10").wantsReplay(t, stopped)
	gone := s.placeUnder(t, "gone", slow).wants(t, 201)
	if o := gone.order(t); o.Payment.Status != "captured" || gone.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("after the client had gone: %s", gone.body)
	}
	s.placeUnder(t, "gone", slow, "Prefer: wait=1").into(t, new(order))
	for _, a := range []answer{stopped, gone} {
		s.checkLedger(t, s.eventually(t, a.order(t), 10*time.Second, func(o order) bool { return o.Status == "placed" }))
	}
	if n := s.orderCount(t); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// hangUp places an order, waiting for the provider, and goes away as soon as it stands.
func (s *shop) hangUp(t *testing.T, key string, body object) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		dbtest.Becomes(t, 5*time.Second, "the order is placed", func() bool { return s.count(t, `select count(*) from idempotency_keys where key = $1`, key) == 1 })
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+testOrdersPath, bytes.NewReader(data))
	if err != nil {
		t.Error(err)
		return
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "wait=10"} {
		req.Header.Set(name, value)
	}
	if resp, err := s.client.Do(req); err == nil {
		resp.Body.Close()
		t.Error("the answer came before the client had gone")
	}
}
