package jobs

import (
	"testing"
	"time"

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
