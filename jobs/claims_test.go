package jobs

import (
	"errors"
	"strings"
	"testing"

	"frenchpress/db"
)

// TestLostClaim is about a process that ended between the claim and the record of the sending: nobody knows
// whether it was sent, so it must not be sent again, however often the job comes back.
func TestLostClaim(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	o := s.silent(t, &db.Contact{Email: everywhere.Email})
	claim := db.Notification{StoreID: o.StoreID, Subject: o.ID, Kind: "order_confirmed", Channel: "email", Address: everywhere.Email}
	if why, err := db.ClaimNotification(t.Context(), s.pool, claim); why != "" || err != nil {
		t.Fatal(why, err)
	}
	if err := s.jobs.notifyOrder(t.Context(), db.Notice{OrderRef: o.Ref(), Kind: "order_confirmed"}); !errors.Is(err, db.ErrClaimBusy) {
		t.Errorf("while it may be under way: %v", err)
	}
	if _, err := s.pool.Exec(t.Context(), `update notifications set claimed_at = now() - interval '2 minutes' where subject = $1`, o.ID); err != nil {
		t.Fatal(err)
	}
	// What is sent about the same order meanwhile says nothing about the lost one.
	if _, err := s.pool.Exec(t.Context(), `insert into notifications (store_id, subject, kind, channel, status) values ($1, $2, 'order_ready', 'email', 'sent')`,
		o.StoreID, o.ID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.notify(t, "order_confirmed", o)
	}
	if got := box.about(o.ID); got != nil {
		t.Errorf("sent %q", got)
	}
	if lines := s.logged(t, o.ID); len(lines) != 1 || !strings.HasPrefix(lines[0], "order_confirmed email failed ") {
		t.Errorf("logged %q", lines)
	}
}

// TestLostClaimGoneStale is about such a message that would say nothing true any more when the job comes back.
func TestLostClaimGoneStale(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	o := s.changeSilently(t, "ready", s.silent(t, &db.Contact{Email: everywhere.Email}))
	claim := db.Notification{StoreID: o.StoreID, Subject: o.ID, Kind: "order_ready", Channel: "email", Address: everywhere.Email}
	if why, err := db.ClaimNotification(t.Context(), s.pool, claim); why != "" || err != nil {
		t.Fatal(why, err)
	}
	s.changeSilently(t, "collect", o)
	if err := s.jobs.notifyOrder(t.Context(), db.Notice{OrderRef: o.Ref(), Kind: "order_ready"}); !errors.Is(err, db.ErrClaimBusy) {
		t.Errorf("while it may be under way: %v", err)
	}
	if _, err := s.pool.Exec(t.Context(), `update notifications set claimed_at = now() - interval '2 minutes' where subject = $1`, o.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.notify(t, "order_ready", o)
	}
	if lines := s.logged(t, o.ID); len(lines) != 1 || !strings.HasPrefix(lines[0], "order_ready email failed ") || box.about(o.ID) != nil {
		t.Errorf("logged %q, sent %q", lines, box.about(o.ID))
	}
}
