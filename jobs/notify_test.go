package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"frenchpress/db"
)

func TestNotificationKinds(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	confirmed, ready := "order_confirmed CHANNEL ", "order_ready CHANNEL "
	o := s.paid(t, everywhere)
	s.notified(t)
	s.do(t, "ready", o)
	s.notified(t)
	s.do(t, "collect", o)
	checkLines(t, "sent", box.about(o.ID), slices.Concat(each(confirmed+"ADDRESS"), each(ready+"ADDRESS"))...)
	checkLines(t, "logged", s.logged(t, o.ID), slices.Concat(each(confirmed+"sent"), each(ready+"sent"))...)

	cancelled := s.paid(t, everywhere)
	s.notified(t)
	s.do(t, "cancel", cancelled)
	s.await(t, cancelled.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Refunded })
	s.notified(t)
	got, want := box.about(cancelled.ID), slices.Concat(each(confirmed+"ADDRESS"), each("order_cancelled CHANNEL ADDRESS"), each("refund_issued CHANNEL ADDRESS"))
	slices.Sort(got) // the cancellation and the refund are jobs of their own
	slices.Sort(want)
	checkLines(t, "sent of a cancelled order", got, want...)

	expired := s.place(t, "tok_declined", everywhere)
	s.await(t, expired.Ref(), within, func(o *db.Order) bool { return o.Status == db.PaymentFailed })
	if _, err := s.orders.Advance(t.Context(), expired.Ref(), db.Expire(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	s.notified(t)
	checkLines(t, "sent of an expired order", box.about(expired.ID), each("order_cancelled CHANNEL ADDRESS")...)
	for _, m := range box.letters {
		if !strings.Contains(m.Text, "Ada") {
			t.Errorf("%s says %q", m.Kind, m.Text)
		}
	}
}

func TestNobodyToNotify(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	for _, contact := range []*db.Contact{nil, {}} {
		o := s.paid(t, contact)
		s.do(t, "ready", o)
		s.notified(t)
		if letters, lines := box.about(o.ID), s.logged(t, o.ID); len(letters)+len(lines) > 0 {
			t.Errorf("without an address: %q, logged %q", letters, lines)
		}
	}
}

// TestNotifiedOnce runs the job of a message many times, one after the other and at once.
func TestNotifiedOnce(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, func(Message) error {
		time.Sleep(rand.N(3 * time.Millisecond))
		return nil
	})
	o := s.do(t, "ready", s.paid(t, everywhere))
	job := &river.Job[notifyArgs]{Args: notifyArgs{[]db.Notice{{OrderRef: o.Ref(), Kind: "order_ready"}, {OrderRef: o.Ref(), Kind: "refund_issued"}}}}
	worker := &notifyWorker{client: s.jobs}
	var runs sync.WaitGroup
	for range 12 {
		runs.Go(func() {
			err, later := worker.Work(t.Context(), job), new(river.JobSnoozeError)
			if err != nil && !errors.As(err, &later) {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	if err := worker.Work(t.Context(), job); err != nil {
		t.Errorf("when all was sent: %v", err)
	}
	s.notified(t)
	got := slices.DeleteFunc(box.about(o.ID), func(line string) bool { return strings.HasPrefix(line, "order_confirmed") })
	slices.Sort(got)
	want := slices.Concat(each("order_ready CHANNEL ADDRESS"), each("refund_issued CHANNEL ADDRESS"))
	slices.Sort(want)
	checkLines(t, "sent", got, want...)
}

func TestConfirmedNeverAfterReady(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	email := &db.Contact{Email: everywhere.Email}
	kinds := func(o *db.Order) []string {
		var kinds []string
		for _, line := range box.about(o.ID) {
			kinds = append(kinds, strings.Fields(line)[0])
		}
		return kinds
	}

	straight := s.silent(t, email)
	s.notify(t, "order_confirmed", straight)
	s.changeSilently(t, "ready", straight)
	s.notify(t, "order_ready", straight)
	checkLines(t, "in their order", kinds(straight), "order_confirmed", "order_ready")

	crossed := s.changeSilently(t, "ready", s.silent(t, email))
	s.notify(t, "order_ready", crossed)
	s.notify(t, "order_confirmed", crossed)
	s.changeSilently(t, "undo", crossed) // it is in progress again: only the earlier message speaks against the late one
	s.notify(t, "order_confirmed", crossed)
	checkLines(t, "crossed", kinds(crossed), "order_ready")
	if lines := s.logged(t, crossed.ID); len(lines) != 2 || !strings.HasPrefix(lines[1], "order_confirmed email suppressed ") {
		t.Errorf("logged %q", lines)
	}

	overtaken := s.silent(t, email)
	box.before = func(m Message) error { // while the confirmation is being sent the order gets ready
		if m.Subject == overtaken.ID && m.Kind == "order_confirmed" {
			s.changeSilently(t, "ready", overtaken)
			err := s.jobs.notifyOrder(t.Context(), db.Notice{OrderRef: overtaken.Ref(), Kind: "order_ready"})
			if !errors.Is(err, db.ErrClaimBusy) {
				t.Errorf("ready while the confirmation is being sent: %v", err)
			}
		}
		return nil
	}
	s.notify(t, "order_confirmed", overtaken)
	s.notify(t, "order_ready", overtaken)
	checkLines(t, "overtaken", kinds(overtaken), "order_confirmed", "order_ready")
}

// TestConfirmedAndReadyAtOnce lets the two messages race for many orders.
func TestConfirmedAndReadyAtOnce(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, func(Message) error {
		time.Sleep(rand.N(2 * time.Millisecond))
		return nil
	})
	var orders []*db.Order
	for range 16 {
		orders = append(orders, s.silent(t, &db.Contact{Phone: everywhere.Phone}))
	}
	var race sync.WaitGroup
	for _, o := range orders {
		race.Go(func() {
			time.Sleep(rand.N(3 * time.Millisecond))
			s.notify(t, "order_confirmed", o)
		})
		race.Go(func() {
			time.Sleep(rand.N(3 * time.Millisecond))
			s.changeSilently(t, "ready", o)
			s.notify(t, "order_ready", o)
		})
	}
	race.Wait()
	outcomes := map[string]int{}
	for _, o := range orders {
		got := box.about(o.ID)
		outcomes[fmt.Sprint(len(got))]++
		if len(got) == 0 || len(got) > 2 || !strings.HasPrefix(got[len(got)-1], "order_ready") {
			t.Errorf("sent %q", got)
		}
	}
	t.Logf("messages an order: %v", outcomes)
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	said := []db.Preference{{Kind: "order_confirmed", Channel: "email"}, {Kind: "order_confirmed", Channel: "push", Allowed: true}}
	if err := db.SetPreferences(t.Context(), s.pool, everywhere, said); err != nil {
		t.Fatal(err)
	}
	o := s.paid(t, everywhere)
	s.notified(t)
	s.notify(t, "order_confirmed", o)
	s.notify(t, "marketing", o) // nobody said yes to that
	checkLines(t, "sent", box.about(o.ID), each("order_confirmed CHANNEL ADDRESS")[1:]...)
	const why = "suppressed the recipient does not want it"
	checkLines(t, "logged", s.logged(t, o.ID), slices.Concat([]string{"order_confirmed email " + why},
		each("order_confirmed CHANNEL sent")[1:], each("marketing CHANNEL "+why))...)
}

func TestStaleMessages(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	email := &db.Contact{Email: everywhere.Email}
	for kind, steps := range map[string][]string{"order_ready": {"ready", "collect"}, "order_confirmed": {"cancel"}, "order_cancelled": {"ready"}} {
		o := s.silent(t, email)
		for _, step := range steps {
			o = s.changeSilently(t, step, o)
		}
		s.notify(t, kind, o)
		s.notify(t, kind, o)
		if got := box.about(o.ID); got != nil {
			t.Errorf("sent %q of an order that is %s", got, o.Status)
		}
		checkLines(t, "logged", s.logged(t, o.ID), fmt.Sprintf("%s email suppressed the order is %s by now", kind, o.Status))
	}
}

// TestStaleMeanwhile has an order collected, or ready, while the first of several channels takes its time.
func TestStaleMeanwhile(t *testing.T) {
	t.Parallel()
	for kind, x := range map[string]struct{ then, stale string }{
		"order_ready":     {"collect", "picked_up"},
		"order_confirmed": {"cancel", "cancelled"},
	} {
		s, box := openPost(t, nil)
		o := s.silent(t, everywhere)
		if kind == "order_ready" {
			o = s.changeSilently(t, "ready", o)
		}
		box.before = func(m Message) error {
			if m.Channel == "email" && m.Kind == kind {
				s.changeSilently(t, x.then, o)
			}
			return nil
		}
		s.notify(t, kind, o)
		checkLines(t, "sent", box.about(o.ID), each(kind + " CHANNEL ADDRESS")[:1]...)
		checkLines(t, "logged", s.logged(t, o.ID), kind+" email sent",
			kind+" sms suppressed the order is "+x.stale+" by now", kind+" push suppressed the order is "+x.stale+" by now")
	}
}

// TestConfirmedNeverAfterReadyElsewhere has the message that an order is ready out on one channel before it is confirmed on
// another.
func TestConfirmedNeverAfterReadyElsewhere(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	o := s.changeSilently(t, "ready", s.silent(t, &db.Contact{Email: everywhere.Email}))
	s.notify(t, "order_ready", o)
	if _, err := s.pool.Exec(t.Context(), `update orders set contact = $1 where id = $2`, everywhere, o.ID); err != nil {
		t.Fatal(err)
	}
	s.changeSilently(t, "undo", o)
	s.notify(t, "order_confirmed", o)
	checkLines(t, "sent", box.about(o.ID), "order_ready email "+everywhere.Email)
}

// TestReadyAgain is about a tap by mistake: the message that was suppressed then must still come when the
// order really is ready, and after that never again.
func TestReadyAgain(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	o := s.silent(t, &db.Contact{Email: everywhere.Email})
	o = s.changeSilently(t, "undo", s.changeSilently(t, "ready", o))
	s.notify(t, "order_ready", o)
	for range 2 {
		o = s.changeSilently(t, "ready", o)
		s.notify(t, "order_ready", o)
		o = s.changeSilently(t, "undo", o)
		s.notify(t, "order_ready", o)
	}
	checkLines(t, "sent", box.about(o.ID), "order_ready email "+everywhere.Email)
	checkLines(t, "logged", s.logged(t, o.ID), "order_ready email suppressed the order is in_progress by now", "order_ready email sent")
}

func TestChannelFailure(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failing := map[string]int{"email": 1}
	s, box := openPost(t, func(m Message) error {
		mu.Lock()
		defer mu.Unlock()
		if failing[m.Channel] > 0 {
			failing[m.Channel]--
			return errors.New("no route to host")
		}
		return nil
	})
	o := s.paid(t, everywhere)
	s.eventually(t, "the message is not sent again", `
    select exists (select from notification_log where subject = $1 and channel = 'email' and outcome = 'sent')`, o.ID)
	s.notified(t)
	texts := each("order_confirmed CHANNEL sent")
	checkLines(t, "logged", s.logged(t, o.ID), "order_confirmed email failed no route to host", texts[1], texts[2], texts[0])

	late := s.silent(t, &db.Contact{Email: everywhere.Email})
	late = s.changeSilently(t, "ready", late)
	mu.Lock()
	failing["email"] = 1
	mu.Unlock()
	if err := s.jobs.notifyOrder(t.Context(), db.Notice{OrderRef: late.Ref(), Kind: "order_ready"}); err == nil {
		t.Error("the failure of a channel is none of the job")
	}
	s.changeSilently(t, "collect", late)
	s.notify(t, "order_ready", late)
	checkLines(t, "logged of one that went stale meanwhile", s.logged(t, late.ID),
		"order_ready email failed no route to host", "order_ready email suppressed the order is picked_up by now")
	if got := box.about(late.ID); got != nil {
		t.Errorf("sent %q", got)
	}
}

// TestManyMessages is about a group of changes that asks for more than one job should send, at a channel that takes its
// time: every message waits for twelve others to be on their way.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	var sending atomic.Int32
	full := make(chan struct{})
	s, _ := openPost(t, func(Message) error {
		if sending.Add(1) == lettersAtOnce {
			close(full)
		}
		select {
		case <-full:
			return nil
		case <-time.After(within):
			return errors.New("nothing else is being sent")
		}
	})
	notices := make([]db.Notice, 2*lettersPerJob+1)
	for i := range notices {
		notices[i] = db.Notice{OrderRef: s.silent(t, &db.Contact{Email: everywhere.Email}).Ref(), Kind: "order_confirmed"}
	}
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error { return s.jobs.Outbox().Notify(t.Context(), tx, notices) })
	if err != nil {
		t.Fatal(err)
	}
	s.notified(t)
	var jobs, sent int
	err = s.pool.QueryRow(t.Context(), `
    select (select count(*) from river_job where kind = 'notify' and attempt = 1),
           (select count(*) from notification_log where outcome = 'sent')`).Scan(&jobs, &sent)
	if err != nil || jobs != 3 || sent != len(notices) {
		t.Errorf("%d messages were sent by %d jobs: %v", sent, jobs, err)
	}
}

// TestLogged wants the message in the log, and the address not.
func TestLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	post := logged(slog.New(slog.NewTextHandler(&out, nil)))
	for _, name := range db.Channels {
		out.Reset()
		m := Message{db.Notification{StoreID: 7, Subject: uuid.New(), Kind: "order_ready", Channel: name, Address: everywhere.Email}, "Ada, your order 12 is ready."}
		if err := post(t.Context(), m); err != nil {
			t.Error(err)
		}
		for _, part := range []string{m.Text, m.Kind, "channel=" + name, m.Subject.String(), "store_id=7"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%q is not in the line %s", part, out.String())
			}
		}
		if strings.Contains(out.String(), "example") {
			t.Errorf("the address is in the line %s", out.String())
		}
	}
}
