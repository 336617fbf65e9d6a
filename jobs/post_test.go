package jobs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"frenchpress/db"
)

const within = 10 * time.Second

var everywhere = &db.Contact{Email: "ada@example.com", Phone: "+14155550100", Push: "push-subscription"}

// letterbox is a channel that keeps what it is given.
type letterbox struct {
	before func(Message) error // may refuse or delay a message; nil takes them all

	mu      sync.Mutex
	letters []Message
}

func (l *letterbox) keep(_ context.Context, m Message) error {
	if l.before != nil {
		if err := l.before(m); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters = append(l.letters, m)
	return nil
}

// about are the messages about an order, as "kind channel address", in the order of their sending.
func (l *letterbox) about(id uuid.UUID) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, m := range l.letters {
		if m.Subject == id {
			found = append(found, strings.Join([]string{m.Kind, m.Channel, m.Address}, " "))
		}
	}
	return found
}

// openPost is a shop whose messages all go to one letterbox.
func openPost(t *testing.T, before func(Message) error) (*shop, *letterbox) {
	t.Helper()
	s, box := openShop(t), &letterbox{before: before}
	s.jobs.post = box.keep
	return s, box
}

// do carries out a command of a board, which must be applied.
func (s *shop) do(t *testing.T, kind string, o *db.Order) *db.Order {
	t.Helper()
	id := uuid.New()
	c := &db.Command{ID: id, Type: kind, Order: o.ID, BaseVersion: o.Version, Reason: "spilled", OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
	changed, err := s.orders.Command(t.Context(), o.StoreID, c, nil)
	if err != nil || changed.Result.Result != "applied" {
		t.Fatalf("%s: %+v %v", kind, changed.Result, err)
	}
	return changed.Order
}

func (s *shop) paid(t *testing.T, contact *db.Contact) *db.Order {
	t.Helper()
	return s.await(t, s.place(t, "tok_visa", contact).Ref(), within, func(o *db.Order) bool { return o.Status == db.StatusPlaced })
}

// notified waits until no notification is on its way.
func (s *shop) notified(t *testing.T) {
	t.Helper()
	s.eventually(t, "a notification is on its way", `
    select not exists (select from river_job where kind = 'notify' and state not in ('completed', 'discarded', 'cancelled'))`)
}

func (s *shop) eventually(t *testing.T, what, condition string, args ...any) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		var holds bool
		if err := s.pool.QueryRow(t.Context(), condition, args...).Scan(&holds); err != nil {
			t.Fatal(err)
		}
		if holds {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v still: %s", within, what)
		}
	}
}

// logged is what the log says about an order, as "kind channel outcome detail", oldest first.
func (s *shop) logged(t *testing.T, id uuid.UUID) []string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `
    select concat_ws(' ', kind, channel, outcome, detail)
    from notification_log
    where subject = $1
    order by id`, id)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// each is one text for every channel of everywhere.
func each(format string) []string {
	return []string{
		strings.NewReplacer("CHANNEL", "email", "ADDRESS", everywhere.Email).Replace(format),
		strings.NewReplacer("CHANNEL", "sms", "ADDRESS", everywhere.Phone).Replace(format),
		strings.NewReplacer("CHANNEL", "push", "ADDRESS", everywhere.Push).Replace(format),
	}
}

func checkLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// silent is a paid order of which no job was told; the test sends its messages itself.
func (s *shop) silent(t *testing.T, contact *db.Contact) *db.Order {
	t.Helper()
	o := s.paid(t, nil)
	if _, err := s.pool.Exec(t.Context(), `update orders set contact = $1 where id = $2`, contact, o.ID); err != nil {
		t.Fatal(err)
	}
	return o
}

// changeSilently moves an order that has a contact, and no job is told.
func (s *shop) changeSilently(t *testing.T, kind string, o *db.Order) *db.Order {
	t.Helper()
	return s.mute().do(t, kind, o)
}

// mute is the same shop with a write path that gives nobody anything to do later.
func (s *shop) mute() *shop {
	mute := *s
	nobody := func(context.Context, pgx.Tx, []db.OrderRef) error { return nil }
	mute.orders = db.NewOrders(s.pool, s.hub, db.Outbox{
		Charge: nobody, Settle: nobody, Refund: nobody,
		Notify: func(context.Context, pgx.Tx, []db.Notice) error { return nil },
	}, db.GroupSize{})
	return &mute
}

// notify sends one message, again while another about the order is being sent.
func (s *shop) notify(t *testing.T, kind string, o *db.Order) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		err := s.jobs.notifyOrder(t.Context(), db.Notice{OrderRef: o.Ref(), Kind: kind})
		if err == nil {
			return
		}
		if !errors.Is(err, db.ErrClaimBusy) || time.Now().After(end) {
			t.Errorf("%s: %v", kind, err)
			return
		}
	}
}
