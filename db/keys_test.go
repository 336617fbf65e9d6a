package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// A history is what callers of two processes ask for under a few keys, round after round: all the requests of a round
// at the same time, up to 64 of them. FRENCHPRESS_HISTORIES says how many histories there are.
const (
	keyHistories = 100 // unless told otherwise
	keyShops     = 4   // databases that have histories at the same time
	keysKept     = 48 * time.Hour
	keyPatience  = 20 * time.Second // for all that a round takes
)

// TestKeysLikeTheirModel has keys that are fought for, used again with another body, left by refusals, used up by
// commits that nobody heard of, and forgotten.
func TestKeysLikeTheirModel(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	left.Store(int64(dbtest.Count(t, "FRENCHPRESS_HISTORIES", keyHistories)))
	for range keyShops {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s, failed := openKeyShop(t), false
			for left.Load() > 0 && !t.Failed() {
				rapid.Check(t, func(rt *rapid.T) {
					if left.Add(-1) < 0 && !failed { // Check has its own idea of how often
						return
					}
					rounds := rapid.SliceOfN(rapid.Custom(drawKeyRound), 1, 5).Draw(rt, "rounds")
					if fault := s.play(rounds); fault != nil {
						failed = true
						rt.Fatal(fault)
					}
				})
			}
			if n := s.deadlocks.Load(); n > 0 {
				t.Errorf("%d deadlocks", n)
			}
		})
	}
}

// keyShop is two stores of two processes, for one history after the other. Each charge is written to sent_charges by
// the transaction that wants it.
type keyShop struct {
	processes [2]*till
	deadlocks *atomic.Int32
	stores    [2]*db.Store
	full      time.Time // when the first store, which alone limits its slots, takes no more
	t         *testing.T
	histories int
}

func openKeyShop(t *testing.T) *keyShop {
	t.Helper()
	s := &keyShop{full: time.Now().UTC().Truncate(5 * time.Minute).Add(3 * time.Hour), t: t}
	s.processes, s.deadlocks = twoProcesses(t,
		`create table if not exists sent_charges (store_id int4, order_id uuid)`,
		`create index if not exists sent_charges_order on sent_charges (order_id)`,
		`update store_settings set slot_minutes = 5, slot_limit = 1000 where store_id = (select store_id from stores where slug = 'ferry-building')`,
		`insert into slots (store_id, starts_at, taken) select store_id, '`+s.full.Format(time.RFC3339)+`', 1000 from stores on conflict do nothing`)
	catalog, err := db.OpenCatalog(t.Context(), s.processes[0].pool)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := catalog.Store("dumbo")
	s.stores = [2]*db.Store{s.processes[0].store, other}
	for _, w := range s.processes {
		w.onWrite = sendCharges
		w.runHub(t)
	}
	return s
}

func sendCharges(ctx context.Context, tx pgx.Tx, orders []db.OrderRef) error {
	for _, ref := range orders {
		if _, err := tx.Exec(ctx, `insert into sent_charges (store_id, order_id) values ($1, $2)`, ref.StoreID, ref.ID); err != nil {
			return err
		}
	}
	return nil
}

// play goes through a history and says where it differs from the model.
func (s *keyShop) play(rounds []keyRound) error {
	s.histories++
	h := &keyHistory{keyShop: s, name: fmt.Sprint(s.histories), began: time.Now(), uses: map[keyID]*keyUse{}, charges: map[uuid.UUID]int{}}
	first, err := uuid.NewV7()
	if err != nil {
		return err
	}
	h.first = first
	if err := h.prepare(h.t.Context(), keyRound{}); err != nil { // stores may be paused from the history before
		return err
	}
	for i := range h.stores {
		if err := h.decline(i); err != nil {
			return err
		}
	}
	for i, r := range rounds {
		if err := h.play(r); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
	}
	return h.checkBooks()
}

// keyHistory is a history under way: what the model knows of it.
type keyHistory struct {
	*keyShop
	name    string
	began   time.Time
	first   uuid.UUID         // all its orders are later
	uses    map[keyID]*keyUse // the keys in use
	charges map[uuid.UUID]int // of each order that a key made
	payable [2][]uuid.UUID    // orders of each store that can be paid again as the round begins
}

// decline makes an order that can be paid again.
func (h *keyHistory) decline(store int) error {
	c := keyCall{keyID: keyID{store, db.PlacingRoute, "declined"}, provider: db.Failed}
	a := h.carryOut(h.t.Context(), c)
	if a.said != made || a.errLater != nil {
		return fmt.Errorf("the first order: %s", &a)
	}
	h.note(&a)
	return nil
}

func (h *keyHistory) key(id keyID) string { return h.name + id.key }

func (h *keyHistory) play(r keyRound) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), keyPatience)
	defer cancel()
	if err := h.prepare(ctx, r); err != nil {
		return err
	}
	var all sync.WaitGroup
	var forgotten span
	var errPrune error
	if !r.late {
		forgotten, errPrune = h.prune(ctx)
	}
	start, done := make(chan struct{}), make([]keyAnswer, len(r.calls))
	for i, c := range r.calls {
		all.Go(func() {
			<-start
			done[i] = h.carryOut(ctx, c)
		})
	}
	if r.late {
		all.Go(func() {
			<-start
			forgotten, errPrune = h.prune(ctx)
		})
	}
	close(start)
	all.Wait()
	for _, w := range h.processes {
		w.cut.commit.Store(0)
		w.cut.answer.Store(0)
	}
	if errPrune != nil {
		return errPrune
	}
	return h.judge(ctx, r, done, forgotten)
}

// prepare pauses stores, ages keys, arms what is to be lost, and looks for orders to pay again.
func (h *keyHistory) prepare(ctx context.Context, r keyRound) error {
	batch := new(pgx.Batch)
	for i, store := range h.stores {
		until := map[bool]string{true: "2100-01-01", false: "2000-01-01"}[r.paused[i]]
		batch.Queue(`update store_settings set paused_until = $2::timestamptz where store_id = $1`, store.ID, until)
		batch.Queue(`select id from orders where store_id = $1 and id > $2 and status = 'payment_failed' order by id`, store.ID, h.first).Query(func(rows pgx.Rows) (err error) {
			h.payable[i], err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
	}
	for _, id := range r.expired {
		batch.Queue(`update idempotency_keys set created_at = created_at - $4::interval where store_id = $1 and route = $2 and key = $3`,
			h.stores[id.store].ID, id.route, h.key(id), keysKept+time.Minute)
	}
	if err := h.processes[0].pool.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	for i, w := range h.processes {
		w.cut.commit.Store(r.lost[i].commit)
		w.cut.answer.Store(r.lost[i].answer)
	}
	return nil
}

// prune forgets old keys as the timer does, and says when.
func (h *keyHistory) prune(ctx context.Context) (span, error) {
	const bite = 2
	when := span{from: time.Since(h.began)}
	for {
		pruned, err := db.PruneKeys(ctx, h.processes[1].pool, keysKept, bite)
		if err != nil || pruned < bite {
			when.to = time.Since(h.began)
			return when, err
		}
	}
}

var errUnpriced = errors.New("fails a rule before the write")

// carryOut is a request and its answer, as the API makes it.
func (h *keyHistory) carryOut(ctx context.Context, c keyCall) keyAnswer {
	a := keyAnswer{keyCall: c, span: span{from: time.Since(h.began)}}
	placed, err := h.ask(ctx, &a)
	a.to = time.Since(h.began)
	if a.said = kind(placed, err); a.said == made {
		a.errLater = h.hear(ctx, c, placed.Order)
	}
	if a.said != made && a.said != repeated {
		a.err = err
		return a
	}
	if placed.Replay != nil {
		a.order = placed.Replay.OrderID
	}
	text, err := h.answer(ctx, a, placed)
	a.text, a.errLater = text, errors.Join(a.errLater, err)
	return a
}

// ask notes in a which order the request would make or pay, and the bytes it stands for.
func (h *keyHistory) ask(ctx context.Context, a *keyAnswer) (db.Placed, error) {
	w, store := h.processes[a.process], h.stores[a.store]
	a.content = fmt.Sprint("body ", a.body)
	if a.route == db.PaymentRoute {
		if payable := h.payable[a.store]; len(payable) > 0 {
			a.order = payable[a.payee%len(payable)]
		}
		a.content += a.order.String()
		return w.PayAgain(ctx, db.OrderRef{StoreID: store.ID, ID: a.order}, "tok_visa", "customer", h.key(a.keyID), []byte(a.content), a.wait)
	}
	if a.unpriced {
		replay, err := w.ReplayOf(ctx, store.ID, h.key(a.keyID), []byte(a.content))
		if err == nil && replay == nil {
			err = errUnpriced
		}
		return db.Placed{Replay: replay}, err
	}
	p := w.latte(h.t, map[bool]string{true: "counter", false: "card"}[a.body == counterBody], h.key(a.keyID))
	p.Store, p.BodyHash, p.Wait = store, []byte(a.content), a.wait
	p.Order.StoreID, p.Order.Store = store.ID, store.Slug
	switch a.body {
	case fullBody:
		p.Asked, p.Order.PickupAt = true, &h.full
	case brokenBody:
		p.Order.Snapshot.Total = -1
	}
	a.order = p.Order.ID
	return w.Place(ctx, p)
}

// hear is what the provider says of a charge that a request began, if it says anything.
func (h *keyHistory) hear(ctx context.Context, c keyCall, order *db.Order) error {
	if c.provider == "" || order.Payment.Attempt == 0 {
		return nil
	}
	_, err := h.processes[c.process].Settle(ctx, order.Ref(), db.Settle(db.Charged{Attempt: order.Payment.Attempt, Status: c.provider, Failure: "card_declined", Ref: "ref"}))
	return err
}

// answer is the answer to a request that has an order: as of version 1, or frozen.
func (h *keyHistory) answer(ctx context.Context, a keyAnswer, placed db.Placed) (string, error) {
	w, replay := h.processes[a.process], placed.Replay
	ref := db.OrderRef{StoreID: h.stores[a.store].ID, ID: a.order}
	if replay == nil {
		replay = &db.Replay{OrderID: a.order}
		if until := time.Now().Add(a.wait); a.wait > 0 {
			replay.WaitUntil = &until
		}
	}
	if a.route == db.PlacingRoute && replay.WaitUntil == nil {
		order, err := placed.Order, error(nil)
		if order == nil {
			if order, err = db.OrderByID(ctx, w.pool, ref); err != nil {
				return "", err
			}
			order = order.AsPlaced()
		}
		return string(order.JSON()), nil
	}
	frozen, err := w.Answer(ctx, ref.StoreID, a.route, h.key(a.keyID), replay, func(o *db.Order) (int, []byte) { return 200, o.JSON() })
	if err != nil {
		return "", err
	}
	if frozen.OrderID != a.order || frozen.Status != 200 {
		return "", fmt.Errorf("the answer of order %s is that of %s, %d", a.order, frozen.OrderID, frozen.Status)
	}
	return string(frozen.Answer), nil
}

// checkBooks finds each order that a key made, no other, and a charge for each time that one was asked for.
func (h *keyHistory) checkBooks() error {
	rows, err := h.processes[0].pool.Query(h.t.Context(), `
    select o.id, o.attempt,
        (select count(*) from payments p where p.store_id = o.store_id and p.order_id = o.id),
        (select count(*) from sent_charges s where s.store_id = o.store_id and s.order_id = o.id)
    from orders o
    where o.store_id = any($1) and o.id > $2`, []int32{h.stores[0].ID, h.stores[1].ID}, h.first)
	if err != nil {
		return err
	}
	type book struct {
		ID                     uuid.UUID
		Attempt, Charges, Jobs int
	}
	books, err := pgx.CollectRows(rows, pgx.RowToStructByPos[book])
	if err != nil {
		return err
	}
	for _, b := range books {
		want, known := h.charges[b.ID]
		if !known || b.Attempt != want || b.Charges != want || b.Jobs != want {
			return fmt.Errorf("made by a key: %v, with %d charges; the books have %+v", known, want, b)
		}
	}
	if len(books) != len(h.charges) {
		return fmt.Errorf("%d orders in the books, keys made %d", len(books), len(h.charges))
	}
	return nil
}

// TestAForgottenKeyFreezesNothing has somebody wait for an answer under a key that is forgotten meanwhile, and used anew.
func TestAForgottenKeyFreezesNothing(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	place := func() *db.Replay {
		p := w.latte(t, "counter", "key")
		p.Wait = time.Second
		placed, err := w.Place(t.Context(), p)
		if err != nil || placed.Order == nil {
			t.Fatalf("placed: %+v, %v", placed, err)
		}
		return &db.Replay{OrderID: placed.Order.ID}
	}
	answer := func(r *db.Replay) (*db.Replay, error) {
		return w.Answer(t.Context(), w.store.ID, db.PlacingRoute, "key", r, func(o *db.Order) (int, []byte) { return 200, o.JSON() })
	}
	old := place()
	if n, err := db.PruneKeys(t.Context(), w.pool, -time.Hour, 10); err != nil || n != 1 {
		t.Fatalf("%d keys forgotten, %v", n, err)
	}
	if frozen, err := answer(old); !errors.Is(err, db.ErrOverloaded) {
		t.Errorf("of an unused key: %+v, %v", frozen, err)
	}
	next := place()
	if frozen, err := answer(old); !errors.Is(err, db.ErrOverloaded) {
		t.Errorf("of another order's key: %+v, %v", frozen, err)
	}
	if frozen, err := answer(next); err != nil || frozen.OrderID != next.OrderID || !bytes.Contains(frozen.Answer, []byte(next.OrderID.String())) {
		t.Errorf("its own: %+v, %v", frozen, err)
	}
}
