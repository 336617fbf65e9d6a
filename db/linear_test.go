package db_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// What is asked of the database at the same time must have happened in some order, one thing after the other, between
// its request and its answer. Each history is of one order, or of one slot, and has several clients of two processes;
// porcupine looks for that order. FRENCHPRESS_HISTORIES says how many histories there are.
const (
	linearClients = 8
	linearEach    = 25 // operations of a client: 200 in a history
	linearAtOnce  = 16 // histories
	linearUsual   = 60 // histories, unless told otherwise
	linearSearch  = 20 * time.Second
	slotPlaces    = 5
)

// checkHistories has clients carry out operations and looks for an order of each history that the model allows. begin
// makes what a history is of, and gives a client: a function that carries out its next operation.
func checkHistories(t *testing.T, model porcupine.Model, begin func(history int) func(client int, random *rand.Rand) (input, output any)) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var running sync.WaitGroup
	places := make(chan struct{}, linearAtOnce)
	for history := range dbtest.Count(t, "FRENCHPRESS_HISTORIES", linearUsual) {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			operations := record(begin(history), seed+uint64(history))
			if result := porcupine.CheckOperationsTimeout(model, operations, linearSearch); result != porcupine.Ok {
				t.Errorf("history %d of seed %d: %s", history, seed, result)
			}
		})
	}
	running.Wait()
}

// record lets the clients of a history loose.
func record(client func(int, *rand.Rand) (any, any), seed uint64) []porcupine.Operation {
	began := time.Now()
	var mu sync.Mutex
	var all []porcupine.Operation
	var clients sync.WaitGroup
	for id := range linearClients {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(id)))
			for range linearEach {
				call := time.Since(began)
				input, output := client(id, random)
				done := porcupine.Operation{ClientId: id, Input: input, Call: int64(call), Output: output, Return: int64(time.Since(began))}
				mu.Lock()
				all = append(all, done)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return all
}

// tap is a command on an order, or a look at it.
type tap struct {
	kind string
	base int // of undo
}

// seenOrder is what a client got to know of the order.
type seenOrder struct {
	result  string
	status  db.Status
	version int
}

// ticket is the order as the contract has it.
type ticket struct {
	status  db.Status
	version int
}

func (k ticket) to(status db.Status, steps int) ticket { return ticket{status, k.version + steps} }

// after is the contract's conflict table, for an order that is paid.
func (k ticket) after(op tap) (string, ticket) {
	open := k.status == db.StatusPlaced || k.status == db.InProgress
	switch {
	case op.kind == "look":
		return "", k
	case k.status == db.Cancelled && op.kind == "cancel":
		return "noop", k
	case k.status == db.Cancelled:
		return "conflict", k
	case op.kind == "start" && k.status == db.StatusPlaced:
		return "applied", k.to(db.InProgress, 1)
	case op.kind == "start" && k.status == db.InProgress:
		return "noop", k
	case op.kind == "start":
		return "superseded", k
	case op.kind == "ready" && k.status == db.StatusPlaced:
		return "applied", k.to(db.Ready, 2)
	case op.kind == "ready" && k.status == db.InProgress:
		return "applied", k.to(db.Ready, 1)
	case op.kind == "ready":
		return "noop", k
	case op.kind == "collect" && k.status == db.Ready:
		return "applied", k.to(db.PickedUp, 1)
	case op.kind == "collect" && k.status == db.PickedUp:
		return "noop", k
	case op.kind == "undo" && k.status == db.PickedUp:
		return "rejected", k
	case op.kind == "undo" && op.base < k.version:
		return "superseded", k
	case op.kind == "undo" && op.base == k.version && k.status == db.Ready:
		return "applied", k.to(db.InProgress, 1)
	case op.kind == "undo" && op.base == k.version && k.status == db.InProgress:
		return "applied", k.to(db.StatusPlaced, 1)
	case op.kind == "cancel" && open:
		return "applied", k.to(db.Cancelled, 1)
	}
	return "rejected", k
}

var ticketModel = porcupine.Model{
	Init: func() any { return ticket{db.StatusPlaced, 2} },
	Step: func(state, input, output any) (bool, any) {
		result, next := state.(ticket).after(input.(tap))
		seen := output.(seenOrder)
		return seen == seenOrder{result, next.status, next.version}, next
	},
}

// taps are drawn in proportion: an order that is finished has no more to tell.
var taps = []string{"start", "start", "start", "ready", "ready", "ready", "undo", "undo", "undo", "undo", "undo", "undo", "look", "look", "look", "look", "collect", "cancel"}

const finishing = 16 // taps from here on end the order, and are drawn less often still

// TestOrdersAreLinearizable has clients tap on one order through two processes.
func TestOrdersAreLinearizable(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	processes := []*till{openTill(t, pool, 0), openTill(t, pool, 0)}
	checkHistories(t, ticketModel, func(history int) func(int, *rand.Rand) (any, any) {
		ref := processes[0].paidOrder(t, fmt.Sprint("linear ", history))
		var known [linearClients]int
		return func(client int, random *rand.Rand) (any, any) {
			which := random.IntN(len(taps))
			if which >= finishing && random.IntN(4) > 0 {
				which = 0
			}
			op := tap{kind: taps[which]}
			if op.kind == "undo" {
				op.base = known[client]
			}
			seen := processes[client%2].carryOut(t, ref, op)
			known[client] = seen.version
			return op, seen
		}
	})
}

// paidOrder is placed and charged: version 2.
func (w *till) paidOrder(t *testing.T, key string) db.OrderRef {
	placed, err := w.Place(t.Context(), w.latte(t, "card", key))
	if err != nil {
		t.Error(err)
		return db.OrderRef{}
	}
	ref := placed.Order.Ref()
	if _, err = w.Settle(t.Context(), ref, db.Settle(db.Charged{Attempt: 1, Status: db.Captured, Ref: "ref"})); err != nil {
		t.Error(err)
	}
	return ref
}

func (w *till) carryOut(t *testing.T, ref db.OrderRef, op tap) seenOrder {
	if op.kind == "look" {
		order, err := w.Current(t.Context(), ref)
		if err != nil {
			t.Error(err)
			return seenOrder{}
		}
		return seenOrder{"", order.Status, order.Version}
	}
	changed, err := w.Command(t.Context(), ref.StoreID, &db.Command{
		ID: uuid.New(), Type: op.kind, Order: ref.ID, BaseVersion: op.base, Reason: "linear", OccurredAt: time.Now(), Hash: []byte("hash"), By: "device:1",
	}, w.view.Menu)
	if err != nil {
		t.Error(err)
		return seenOrder{}
	}
	return seenOrder{changed.Result.Result, changed.Order.Status, changed.Order.Version}
}

var slotModel = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		taken := state.(int)
		switch {
		case input == "give back":
			return true, taken - 1
		case output == "full":
			return taken == slotPlaces, taken
		}
		return taken < slotPlaces, taken + 1
	},
}

// TestSlotsAreLinearizable has clients take places in one slot and give them back, through two processes.
func TestSlotsAreLinearizable(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	processes := []*till{openTill(t, pool, 0), openTill(t, pool, 0)}
	store := processes[0].store
	if _, err := pool.Exec(t.Context(), `update store_settings set slot_limit = $2, slot_minutes = 5 where store_id = $1`, store.ID, slotPlaces); err != nil {
		t.Fatal(err)
	}
	opens := time.Now().Truncate(5 * time.Minute).Add(time.Hour)
	checkHistories(t, slotModel, func(history int) func(int, *rand.Rand) (any, any) {
		at := opens.Add(time.Duration(history) * 5 * time.Minute)
		var mine [linearClients][]db.OrderRef
		return func(client int, random *rand.Rand) (any, any) {
			w := processes[client%2]
			if have := mine[client]; len(have) > 0 && random.IntN(2) == 0 {
				mine[client] = have[1:]
				if _, err := w.Advance(t.Context(), have[0], db.CancelByCustomer("customer", "")); err != nil {
					t.Error(err)
				}
				return "give back", ""
			}
			p := w.latte(t, "card", uuid.NewString())
			p.Asked, p.Order.PickupAt = true, &at
			placed, err := w.Place(t.Context(), p)
			var refused *db.Error
			switch {
			case errors.As(err, &refused) && refused.Code == db.CodeSlotFull:
				return "take", "full"
			case err != nil:
				t.Error(err)
				return "take", "failed"
			}
			mine[client] = append(mine[client], placed.Order.Ref())
			return "take", "taken"
		}
	})
}
