package jobs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

const (
	// seedsUsual is how many lives of an order the test plays; FRENCHPRESS_SEEDS asks for others.
	seedsUsual = 3000
	// troubles is how many things happen to an order before everything works again.
	troubles = 120
	// quietMost is how many steps an order may take then until it is settled.
	quietMost = 400
	// workersMost is how many workers may be at one order at a time: its group, the sweeper's, a message's.
	workersMost = 3
)

// TestPaymentMachine plays the life of an order again and again: workers that are at it at the same time and die
// anywhere, a customer who cancels and pays again, a provider that answers late, wrongly or never. The rule is the shop's
// own, as are the order's moves. Whatever happens, at most one intent ever takes money, and in the end the books agree.
func TestPaymentMachine(t *testing.T) {
	t.Parallel()
	ended := map[string]int{}
	for seed := range dbtest.Count(t, "FRENCHPRESS_SEEDS", seedsUsual) {
		w := newWorld(uint64(seed))
		if err := w.live(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, w.diary)
		}
		ended[fmt.Sprintf("%s/%s", w.order.Status, w.order.Payment.Status)]++
	}
	t.Log(ended)
	for _, want := range []string{"placed/captured", "payment_failed/failed", "cancelled/void", "cancelled/refund_pending"} {
		if ended[want] == 0 {
			t.Errorf("no order ended %s", want)
		}
	}
}

// world is one order with all that is about it.
type world struct {
	rand    *rand.Rand
	order   *db.Order
	rows    []*row // the order's attempts, as the table payments has them
	bank    *bank
	workers []*worker
	diary   []byte
}

type row struct {
	status db.PaymentStatus
	ref    *string
	tries  int
}

// worker is a job about the order's charge.
type worker struct {
	charge *db.Charge
	heard  said
	group  bool // it does not look at our books again once the intent is stored
}

func newWorld(seed uint64) *world {
	random := rand.New(rand.NewPCG(seed, 4))
	o := &db.Order{StoreID: 1, ID: uuid.UUID{7}, Status: db.PaymentPending, Version: 1, UpdatedAt: time.Unix(1, 0).UTC()}
	o.Snapshot.Total = 575
	o.Payment = db.Payment{Method: "card", Status: db.Pending, Attempt: 1}
	o.Steps = []db.Step{{Version: 1, Status: o.Status, PaymentStatus: o.Payment.Status}}
	return &world{rand: random, order: o, rows: []*row{{status: db.Pending, tries: 1}}, bank: newBank(random)}
}

func (w *world) note(format string, args ...any) {
	w.diary = fmt.Appendf(w.diary, format+"\n", args...)
}

func (w *world) live() error {
	for range troubles {
		w.trouble()
		if err := w.check(); err != nil {
			return err
		}
	}
	w.bank.honest = true
	w.workers = nil
	for range quietMost {
		w.bank.carryOut()
		if w.settled() && len(w.workers) == 0 && len(w.bank.late) == 0 {
			return w.agree()
		}
		if len(w.workers) == 0 {
			w.hire()
		}
		if err := errors.Join(w.work(0), w.check()); err != nil {
			return err
		}
	}
	return fmt.Errorf("not settled after %d steps: %s, payment %s", quietMost, w.order.Status, w.order.Payment.Status)
}

// trouble is one thing that happens.
func (w *world) trouble() {
	switch n := w.rand.IntN(1000); {
	case n < 40 && len(w.workers) < workersMost:
		w.hire()
	case n < 120:
		w.note("whoever has been at it longest dies")
		w.workers = slices.Delete(w.workers, 0, min(1, len(w.workers)))
	case n < 123:
		w.decide("cancel", db.CancelByCustomer("customer", ""))
		w.hire() // somebody who knows already, while others do not
	case n < 124:
		w.decide("expire", db.Expire(time.Now().Add(time.Hour)))
	case n < 160:
		w.decide("pay again", db.PayAgain("tok", "customer"))
	case n < 220:
		w.bank.carryOut()
	case n < 270:
		w.message()
	case len(w.workers) > 0:
		_ = w.work(w.rand.IntN(len(w.workers))) // only in an honest world there is nothing to give up
	default:
		w.hire()
	}
}

// hire is a job that begins, of a group or of the sweeper: it looks only at what is not settled.
func (w *world) hire() {
	if charge := w.load(); !charge.Status.Settled() && charge.Status != db.RefundPending {
		w.workers = append(w.workers, &worker{charge: charge, group: w.rand.IntN(2) == 0})
	}
}

// message is a webhook about some intent, old or new: the worker begins with what the provider says of it.
func (w *world) message() {
	if len(w.bank.intents) == 0 || len(w.workers) >= workersMost {
		return
	}
	id := w.bank.intents[w.rand.IntN(len(w.bank.intents))].ID
	charge := w.load()
	if id == charge.Intent {
		w.note("a message about %s", id)
		w.workers = append(w.workers, &worker{charge: charge, heard: w.bank.read(id)})
	}
}

// load is what db.ChargesOf reads.
func (w *world) load() *db.Charge {
	now := w.rows[len(w.rows)-1]
	c := &db.Charge{OrderRef: w.order.Ref(), Attempt: len(w.rows), Amount: w.order.Snapshot.Total, Status: now.status, Tries: now.tries,
		Wanted: w.order.Status == db.PaymentPending}
	if now.ref != nil {
		c.Intent, c.Renounced = *now.ref, *now.ref == ""
	}
	return c
}

// decide is what the write path does with a decision, in one transaction.
func (w *world) decide(what string, decide db.Decision) {
	before := w.order.Payment
	if err := decide(w.order, time.Now()); err != nil {
		return
	}
	after := w.order.Payment
	w.note("%s: %s, payment %s", what, w.order.Status, after.Status)
	now := w.rows[len(w.rows)-1]
	switch {
	case after.Attempt > before.Attempt:
		w.rows = append(w.rows, &row{status: db.Pending, tries: 1})
		w.bank.card = w.rand.IntN(cards)
	case after.Status != before.Status && now.status != db.Failed:
		now.status = after.Status
	}
}

// work lets one worker do its next step, as carryOn does it.
func (w *world) work(i int) error {
	a := w.workers[i]
	do := next(knownOf(a.charge), a.heard)
	w.note("worker on attempt %d, intent %q, heard %q: %s", a.charge.Attempt, a.charge.Intent, a.heard.Word, do.Do)
	leave := false
	switch do.Do {
	case toEnd:
		leave = true
	case toGiveUp:
		return fmt.Errorf("a worker gives up: %w", a.heard.Err)
	case toWait:
		a.charge, a.heard = w.load(), said{}
	case toSettle:
		do.Settle.Attempt = a.charge.Attempt
		w.decide("settle", db.Settle(do.Settle))
		a.charge.Status, a.heard = db.Unknown, said{}
		leave = do.Settle.Status != db.Unknown
	case toStore, toRenounce, toMoveOn:
		w.keep(a, do.Do)
	default:
		a.heard = w.bank.ask(a.charge, do)
		w.note("  the provider: %s %v", a.heard.Word, a.heard.Err)
	}
	if leave {
		w.workers = slices.Delete(w.workers, i, i+1)
	}
	return nil
}

// keep is what db.StoreIntents and db.MoveOn do. They lock the payment, not the order: what they see of that may be from
// before a change that is being committed, so here it always is.
func (w *world) keep(a *worker, what act) {
	now := w.rows[a.charge.Attempt-1]
	open := now.status == db.Pending || now.status == db.Unknown
	wanted := a.charge.Wanted
	switch {
	case what == toMoveOn && open && now.tries == a.charge.Tries:
		now.tries++
	case what == toRenounce && open && now.ref == nil:
		now.ref = new(string)
	case what == toStore && open && now.ref == nil && wanted:
		id := a.heard.Intent.ID
		now.ref = &id
		if a.group {
			a.charge.Intent = id
			return
		}
	}
	a.charge = w.load()
	if a.heard.Intent == nil || a.heard.Intent.ID != a.charge.Intent {
		a.heard = said{}
	}
}

func (w *world) settled() bool {
	return w.order.Payment.Status.Settled() || w.order.Payment.Status == db.RefundPending
}

// check is what must hold at every moment.
func (w *world) check() error {
	taken := 0
	for _, in := range w.bank.intents {
		if in.State == succeeded {
			taken++
		}
	}
	if taken > 1 {
		return fmt.Errorf("%d intents took the money", taken)
	}
	return nil
}

// agree holds the order against the provider's books when all is quiet.
func (w *world) agree() error {
	status := w.order.Payment.Status
	charged := status == db.Captured || status == db.RefundPending
	for _, in := range w.bank.intents {
		if in.State != succeeded {
			continue
		}
		if last := w.rows[len(w.rows)-1]; !charged || last.ref == nil || *last.ref != in.ID {
			return fmt.Errorf("%s took the money, and the payment is %s", in.ID, status)
		}
		charged = false
	}
	if charged {
		return fmt.Errorf("nothing took the money, and the payment is %s", status)
	}
	return nil
}
