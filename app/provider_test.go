package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v85/webhook"

	"frenchpress/db"
	"frenchpress/db/dbtest"
	"frenchpress/jobs"
	"frenchpress/jobs/sandbox"
)

const webhookSecret = "whsec_of_the_tests"

// elsewhere is a provider in a place of its own, reached over the network.
type elsewhere struct{ host string }

// RoundTrip goes there whatever host is named.
func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = e.host
	return http.DefaultTransport.RoundTrip(r)
}

// openElsewhere boots a shop whose provider is elsewhere and misbehaves.
func openElsewhere(t *testing.T, faults sandbox.Faults, settings ...string) *shop {
	t.Helper()
	var shopURL atomic.Pointer[url.URL]
	way := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		if to := shopURL.Load(); to != nil {
			r.SetURL(to)
		}
	}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)})
	t.Cleanup(way.Close)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	options := sandbox.Options{WebhookURL: way.URL + webhookPath, WebhookSecret: webhookSecret, Faults: faults, Stall: 4 * time.Second}
	go func() { ended <- sandbox.Serve(ctx, t.TempDir(), listener, options) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	host := listener.Addr().String()
	s := openShop(t, append(settings, "PAYMENT_URL=http://"+host, "PAYMENT_KEY="+sandboxKey, "PAYMENT_WEBHOOK_SECRET="+webhookSecret)...)
	s.bankOnce.Do(func() { s.opened = bank{elsewhere{host}} })
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	shopURL.Store(to)
	return s
}

// reconciled compares the books now.
func (s *shop) reconciled(t *testing.T, admin string) differencesBody {
	t.Helper()
	var body differencesBody
	s.call(t, "POST", "/v1/payments/reconcile", admin, nil).wants(t, 200).into(t, &body)
	return body
}

// TestProviderElsewhere has guests order, and cancel now and then, while nearly every third call to the provider fails
// in some way and so do its messages.
func TestProviderElsewhere(t *testing.T) {
	t.Parallel()
	s := openElsewhere(t, sandbox.Faults{
		Seed: 1, TimeoutBefore: 0.04, TimeoutAfter: 0.05, ErrorBefore: 0.05, ErrorAfter: 0.05, RateLimited: 0.05, Stall: 0.01, Reset: 0.05,
		WebhookDuplicated: 0.2, WebhookReordered: 0.2, WebhookEarly: 0.2, WebhookNever: 0.1, WebhookBadSignature: 0.1, WebhookStale: 0.1,
	})
	tokens := []string{"tok_visa", "tok_visa", "tok_visa", "tok_declined", "tok_slow", "tok_timeout", "tok_flaky", "tok_3ds"}
	orders := make([]order, 48)
	for i := range orders {
		orders[i] = s.place(t, with(tokens[i%len(tokens)])).wants(t, 202).order(t)
		if i%6 == 0 {
			s.cancel(t, orders[i]).wants(t, 200)
		}
	}
	settled := func(o order) bool {
		return slices.Contains([]string{"captured", "failed", "void", "refunded"}, o.Payment.Status)
	}
	for i, o := range orders {
		now := s.eventually(t, o, 60*time.Second, settled)
		s.checkLedger(t, now)
		switch token := tokens[i%len(tokens)]; {
		case i%6 == 0 && now.Status != "cancelled":
			t.Errorf("cancelled, it is %s", now.Status)
		case i%6 != 0 && token == "tok_3ds" && now.Payment.Failure != "authentication_required":
			t.Errorf("a card that demands 3-D Secure: %s, payment %+v", now.Status, now.Payment)
		case i%6 != 0 && (token == "tok_declined" || token == "tok_3ds") != (now.Status == "payment_failed"):
			t.Errorf("%s: %s, payment %+v", token, now.Status, now.Payment)
		}
	}
	dbtest.Becomes(t, 30*time.Second, "all messages are worked", func() bool {
		return s.count(t, `select count(*) from river_job where kind = 'provider_message' and state <> 'completed'`) == 0
	})
	if n := s.count(t, `select count(*) from provider_messages`); n == 0 {
		t.Error("the provider has told of nothing")
	}
	s.bank(t).setFaults(t, "{}")
	if body := s.reconciled(t, s.staff(t, "ada", db.Admin)); len(body.Differences) != 0 || body.RanAt == nil {
		t.Errorf("the books differ: %+v", body)
	}
}

// TestRefundBehindA500 has the provider give money back, say 500, and say so again whenever it is asked under that key.
func TestRefundBehindA500(t *testing.T) {
	t.Parallel()
	s := openElsewhere(t, sandbox.Faults{})
	o := s.placed(t, with("tok_visa"))
	s.bank(t).setFaults(t, `{"error_after": 1}`)
	s.cancel(t, o).wants(t, 200)
	s.checkLedger(t, s.eventually(t, o, 15*time.Second, isRefunded))
}

// signed is a message with a signature of a moment.
func signed(body string, at time.Time, secrets ...string) string {
	header := fmt.Sprintf("t=%d", at.Unix())
	for _, secret := range secrets {
		header += fmt.Sprintf(",v1=%x", webhook.ComputeSignature(at, []byte(body), secret))
	}
	return "Stripe-Signature: " + header
}

// TestMessages sends what only the provider may send, and what it never would.
func TestMessages(t *testing.T) {
	t.Parallel()
	s := openShop(t, "PAYMENT_WEBHOOK_SECRET="+webhookSecret)
	const body = `{"id":"evt_1","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","object":"payment_intent"}}}`
	now := time.Now()
	for name, x := range map[string]struct {
		body, signature, code string
		status                int
	}{
		"not signed":        {body, "X: y", "bad_signature", 400},
		"of another secret": {body, signed(body, now, "whsec_other"), "bad_signature", 400},
		"of another body":   {body, signed(body+" ", now, webhookSecret), "bad_signature", 400},
		"too old":           {body, signed(body, now.Add(-6*time.Minute), webhookSecret), "bad_signature", 400},
		"not JSON":          {"evt_1", signed("evt_1", now, webhookSecret), "malformed_json", 400},
		"no message":        {`{}`, signed(`{}`, now, webhookSecret), "invalid", 422},
		"no id":             {strings.Replace(body, "evt_1", `evt\u0000`, 1), signed(strings.Replace(body, "evt_1", `evt\u0000`, 1), now, webhookSecret), "invalid", 422},
		"no object":         {strings.Replace(body, "pi_1", `pi\u0000`, 1), signed(strings.Replace(body, "pi_1", `pi\u0000`, 1), now, webhookSecret), "invalid", 422},
		"too large":         {strings.Repeat(" ", bodyLimit+1), signed("", now, webhookSecret), "body_too_large", 413},
	} {
		a := s.call(t, "POST", webhookPath, "", x.body, x.signature).wants(t, x.status)
		if !strings.Contains(string(a.body), `"`+x.code+`"`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	s.call(t, "POST", webhookPath, "", body, "Content-Type: text/plain", signed(body, now, webhookSecret)).wants(t, 415)
	if n := s.count(t, `select count(*) from provider_messages`); n != 0 {
		t.Errorf("%d messages were taken", n)
	}
	// While a secret is being changed there are two signatures.
	s.call(t, "POST", webhookPath, "", body, signed(body, now.Add(-4*time.Minute), "whsec_other", webhookSecret)).wants(t, 200)
	together(t, 8, func(int) answer {
		return s.call(t, "POST", webhookPath, "", body, signed(body, now, webhookSecret)).wants(t, 200)
	})
	if n, jobs := s.count(t, `select count(*) from provider_messages`), s.count(t, `select count(*) from river_job where kind = 'provider_message'`); n != 1 || jobs != 1 {
		t.Errorf("sent nine times: %d messages, %d jobs", n, jobs)
	}
	const dull = `{"id":"evt_2","object":"event","type":"payment_method.attached","data":{"object":{"id":"pm_1"}}}`
	s.call(t, "POST", webhookPath, "", dull, signed(dull, now, webhookSecret)).wants(t, 200)
	openShop(t).call(t, "POST", webhookPath, "", body, signed(body, now, webhookSecret)).wantsProblem(t, 404, "not_found")
}

// TestMessageBeforeAll lets a message tell of a charge of which no job knows any more.
func TestMessageBeforeAll(t *testing.T) {
	t.Parallel()
	s := openShop(t, "PAYMENT_WEBHOOK_SECRET="+webhookSecret)
	if err := s.api.jobs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := s.place(t, latte(nil)).wants(t, 202).order(t)
	s.chargeUnseen(t, o)
	intent, _ := s.bank(t).intent(t, s.reference(t, o))
	s.exec(t, `delete from river_job`)
	body := `{"id":"evt_1","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"` + intent + `"}}}`
	s.call(t, "POST", webhookPath, "", body, signed(body, time.Now(), webhookSecret)).wants(t, 200)
	next := openShopOn(t, s.databaseURL)
	next.checkLedger(t, next.eventually(t, o, 10*time.Second, func(o order) bool { return o.Status == "placed" }))
	page := string(next.call(t, "GET", "/staff/"+testStore+"/orders/"+o.ID, next.staff(t, "ada", db.Support), nil).wants(t, 200).body)
	if !strings.Contains(page, intent) || !strings.Contains(page, "keys tried 1") {
		t.Errorf("the order's story does not tell of %s: %s", intent, page)
	}
}

func (s *shop) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := s.api.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// chargeOf is an order's charge as the shop has it.
func (s *shop) chargeOf(t *testing.T, o order) *db.Charge {
	t.Helper()
	ref, _ := db.ParseReference(s.reference(t, o))
	charges, err := db.ChargesOf(t.Context(), s.api.pool, []db.OrderRef{ref})
	if err != nil || len(charges) != 1 {
		t.Fatal(charges, err)
	}
	return charges[0]
}

// TestDifferences spoils the books on both sides, one thing at a time, and puts them right again.
func TestDifferences(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	admin, provider := s.staff(t, "ada", db.Admin), s.bank(t).provider()
	s.call(t, "POST", "/v1/payments/reconcile", s.staff(t, "sam", db.Support), nil).wantsProblem(t, 403, "forbidden")
	for range 3 {
		s.placed(t, latte(nil))
	}
	cancelled := s.placed(t, latte(nil))
	s.cancel(t, cancelled).wants(t, 200)
	s.eventually(t, cancelled, 15*time.Second, isRefunded)
	if body := s.reconciled(t, admin); len(body.Differences) != 0 {
		t.Fatalf("the books differ from the start: %+v", body)
	}
	spoil := func(sql string) func(*testing.T, *jobs.Provider, order) {
		return func(t *testing.T, _ *jobs.Provider, o order) { s.exec(t, sql, o.ID) }
	}
	for _, x := range []struct {
		name  string
		spoil func(*testing.T, *jobs.Provider, order)
		mend  string
		kinds string
	}{
		{"another amount", spoil(`update payments set amount = amount + 1 where order_id = $1`),
			`update payments set amount = amount - 1 where order_id = $1`, "amount_differs"},
		{"a charge that is not ours", func(t *testing.T, p *jobs.Provider, o order) {
			c := s.chargeOf(t, o)
			c.ID, c.Intent, c.Token = uuid.Must(uuid.NewV7()), "", "tok_visa"
			c.Intent = p.Create(t.Context(), c).Intent.ID
			if heard := p.Confirm(t.Context(), c); heard.Err != nil {
				t.Fatal(heard)
			}
		}, "", "charge_without_order"},
		{"our charge that is not there", spoil(`update payments set provider_ref = 'pi_nowhere' where order_id = $1`), "", "charge_without_order order_without_charge"},
		{"a charge still under way", spoil(`update payments set status = 'unknown', updated_at = now() - interval '3 minutes' where order_id = $1`),
			`update payments set status = 'captured' where order_id = $1`, "charge_not_settled"},
		{"a refund of theirs", func(t *testing.T, p *jobs.Provider, o order) {
			if _, err := p.Refund(t.Context(), uuid.NewString(), s.chargeOf(t, o), 100, time.Now()); err != nil {
				t.Fatal(err)
			}
		}, `update orders set refunded = 100 where id = $1`, "refund_without_record"},
		{"a refund of ours", spoil(`with o as (update orders set refunded = 100 where id = $1 returning store_id, id),
            h as (update order_history set payment_status = 'partially_refunded' where order_id = $1 and version = 2)
            update payments set status = 'partially_refunded' where order_id = $1`),
			`update orders set refunded = 0 where id = $1`, "refund_missing"},
	} {
		before := s.reconciled(t, admin).Differences
		o := s.placed(t, latte(nil))
		x.spoil(t, provider, o)
		seen := map[string]bool{}
		for _, d := range before {
			seen[d.Kind+d.Ref] = true
		}
		var kinds []string
		for _, d := range s.reconciled(t, admin).Differences {
			if !seen[d.Kind+d.Ref] {
				kinds = append(kinds, d.Kind)
			}
		}
		if slices.Sort(kinds); strings.Join(kinds, " ") != x.kinds {
			t.Errorf("%s is %v, want %s", x.name, kinds, x.kinds)
		}
		if x.mend == "" {
			continue
		}
		s.exec(t, x.mend, o.ID)
		if after := s.reconciled(t, admin).Differences; len(after) != len(before) {
			t.Errorf("%s, put right again: %+v", x.name, after)
		}
	}
	page := string(s.call(t, "GET", "/staff/payments", admin, nil).wants(t, 200).body)
	if strings.Contains(page, "never") || strings.Count(page, "<tr>") != 1+3 || !strings.Contains(page, "pi_nowhere") {
		t.Errorf("the page says %s", page)
	}
}

// TestSandboxWithoutItsBooks opens a shop on a database that was charged by a sandbox which is not there, as after a dump
// was restored elsewhere.
func TestSandboxWithoutItsBooks(t *testing.T) {
	t.Parallel()
	const words = "books of the built-in sandbox are new"
	first, log := openLoggedShop(t, dbtest.URL(t))
	first.placed(t, latte(nil))
	first.closeSoon(t)
	if strings.Contains(log.String(), words) {
		t.Errorf("a new shop says %s", log)
	}
	second, log := openLoggedShop(t, first.databaseURL)
	second.closeSoon(t)
	if !strings.Contains(log.String(), words) {
		t.Errorf("it does not say that the sandbox knows nothing: %s", log)
	}
}
