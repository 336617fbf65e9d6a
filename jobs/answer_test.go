package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

// TestCardInTheWordsOfAnAnswer pays with a card number where a token belongs. The provider says it back; our books keep
// nothing of it.
func TestCardInTheWordsOfAnAnswer(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const number = "4242424242424242"
	o := s.await(t, s.place(t, number, nil).Ref(), within, func(o *db.Order) bool { return o.Status == db.PaymentFailed })
	if o.Payment.Failure != "invalid_token" {
		t.Errorf("payment %+v", o.Payment)
	}
	var kept string
	if err := s.pool.QueryRow(t.Context(), `select string_agg(p::text, ' ') from payments p where order_id = $1 and p::text like '%' || $2 || '%'`, o.ID, number[6:]).Scan(&kept); err == nil && kept != "" {
		t.Errorf("the books keep the card: %s", kept)
	}
}

// TestKeysThatSayNothingNew asks under keys that have had their answer: one about a state that is over, or to other
// parameters.
func TestKeysThatSayNothingNew(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	p, c := s.jobs.provider, s.makeIntent(t, s.forgotten(t, "tok_visa!hold"))
	if heard := p.Confirm(t.Context(), c); heard.Word != told || heard.Intent.State != processing {
		t.Fatalf("confirmed: %+v", heard)
	}
	if heard := p.Cancel(t.Context(), c, reasonFinished); heard.Word != told || heard.Intent.State != processing {
		t.Fatalf("cancelled while it is decided: %+v", heard)
	}
	s.control(t, "/sandbox/intents/"+c.Intent+"/release?outcome=succeeded")
	for _, reason := range []string{reasonFinished, reasonAction} {
		if heard := p.Cancel(t.Context(), c, reason); heard.Word != spent {
			t.Errorf("cancelled again, for %s: %+v", reason, heard)
		}
	}
	first, err := p.Refund(t.Context(), "refund-1", c, 100, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other := *c
	other.StoreID++ // as a new release of the shop may ask in other words
	if again, err := p.Refund(t.Context(), "refund-1", &other, 100, time.Now()); again != first || err != nil {
		t.Errorf("refunded %s, then %q, %v", first, again, err)
	}
	if refunds, err := p.RefundsOf(t.Context(), c.Intent); len(refunds) != 1 {
		t.Errorf("%d refunds, %v", len(refunds), err)
	}
}

// TestStrangeAnswers gets what no provider should say, or somebody else in between does. Nothing of it is believed, and
// what is told of it holds neither card nor key.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	const card, key = "4242424242424242", "sk_test_secret"
	page := "<html>" + strings.Repeat(card, 100)
	for name, c := range map[string]struct {
		status int
		body   string
		word   word
		says   string
	}{
		"another intent":           {200, `{"id":"pi_2","status":"succeeded"}`, silent, `"pi_2"`},
		"no intent":                {200, `{}`, silent, `the intent ""`},
		"an answer cut short":      {200, `{"id":"pi_1","status":"succ`, silent, "status 200"},
		"a page":                   {200, page, silent, "status 200"},
		"somewhere else":           {302, `{"id":"pi_1","status":"succeeded"}`, silent, "status 302"},
		"a proxy's page":           {502, page, silent, "status 502"},
		"another API's refusal":    {400, `{"message":"` + card + `"}`, silent, "status 400"},
		"a key that is not known":  {401, "", busy, "status 401"},
		"a way that is not open":   {403, page, busy, "status 403"},
		"a refusal without an end": {500, `{"error":{"message":"` + strings.Repeat(card, answerLimit/len(card)) + `"}}`, silent, "status 500"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		p := NewProvider(server.URL, key, nil, slog.New(slog.DiscardHandler))
		charge := &db.Charge{OrderRef: db.OrderRef{StoreID: 1, ID: uuid.Must(uuid.NewV7())}, Attempt: 1, Amount: 575, Currency: "USD", Token: card, Tries: 1, Intent: "pi_1"}
		heard := p.Confirm(t.Context(), charge)
		if heard.Word != c.word || heard.Intent != nil || !strings.Contains(heard.Err.Error(), c.says) {
			t.Errorf("%s: %s %+v, %v", name, heard.Word, heard.Intent, heard.Err)
		}
		var gone *refusal
		ref, err := p.Refund(t.Context(), "refund-1", charge, 100, time.Now())
		if c.status != http.StatusOK && (ref != "" || err == nil || errors.As(err, &gone)) {
			t.Errorf("%s: refunded as %q, %v", name, ref, err)
		}
		for _, secret := range []string{card, key} {
			if said := fmt.Sprint(heard.Err, heard.Words, err); strings.Contains(said, secret) {
				t.Errorf("%s: it says %.300s", name, said)
			}
		}
		server.Close()
	}
}

// TestRefundsInEveryState takes a refund for done, or for refused, only in a state that says so.
func TestRefundsInEveryState(t *testing.T) {
	t.Parallel()
	var gone *refusal
	for state, means := range map[string]func(error) bool{
		"succeeded":       func(err error) bool { return err == nil },
		"failed":          func(err error) bool { return errors.As(err, &gone) },
		"canceled":        func(err error) bool { return errors.As(err, &gone) },
		"pending":         func(err error) bool { return errors.Is(err, errNotYet) },
		"requires_action": func(err error) bool { return errors.Is(err, errNotYet) },
		"":                func(err error) bool { return errors.Is(err, errNotYet) },
	} {
		if ref, err := (&Refund{ID: "re_1", State: state}).outcome(nil); ref != "re_1" || !means(err) {
			t.Errorf("%q: %q, %v", state, ref, err)
		}
	}
}

// TestWrongKeyIsToldOfOnce has the provider refuse our key again and again.
func TestWrongKeyIsToldOfOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer server.Close()
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	p := NewProvider(server.URL, "sk_test_old", nil, log)
	c := &Client{config: Config{Log: log}}
	charge := &db.Charge{OrderRef: db.OrderRef{StoreID: 1, ID: uuid.Must(uuid.NewV7())}, Attempt: 1, Amount: 575, Currency: "USD", Tries: 1, Intent: "pi_1"}
	for range 50 {
		heard := p.Confirm(t.Context(), charge)
		c.logAnswer(t.Context(), charge, heard)
	}
	said := lines.String()
	if strings.Count(said, "\n") != 2 || strings.Count(said, "level=ERROR") != 1 || !strings.Contains(said, "PAYMENT_KEY") || !strings.Contains(said, "provider="+server.URL) {
		t.Errorf("it said\n%s", said)
	}
}

// TestTally has the provider away: the first call that fails is told of, the next ones are counted until it is time again.
func TestTally(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		log := slog.New(slog.NewTextHandler(&lines, nil))
		p := &Provider{log: log}
		for range 100 {
			p.tell(t.Context(), &p.silence, slog.LevelWarn, "away", "read", errFault)
		}
		time.Sleep(tallyTold)
		p.tell(t.Context(), &p.silence, slog.LevelWarn, "away", "read", errFault)
		if said := lines.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, "calls=1 ") || !strings.Contains(said, "calls=100 ") {
			t.Errorf("it said\n%s", said)
		}
	})
}
