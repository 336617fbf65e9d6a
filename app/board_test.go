package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

// conflictTable is the contract's: what a command comes to, by what it meets. A cell is the result, after a
// colon the reason or, if it was applied, the status that it led to and by how many versions. due stands for a
// ready counter order that nobody has paid, undo_late for an undo of an earlier version.
const conflictTable = `
             payment_pending       payment_failed        placed                 in_progress            ready                  due                    picked_up            cancelled  expired   abandoned
start        rejected:not_paid     rejected:not_paid     applied:in_progress+1  noop                   superseded             superseded             superseded           conflict   conflict  conflict
ready        rejected:not_paid     rejected:not_paid     applied:ready+2        applied:ready+1        noop                   noop                   noop                 conflict   conflict  conflict
collect      rejected:not_paid     rejected:not_paid     rejected               rejected               applied:picked_up+1    rejected:unpaid        noop                 conflict   conflict  conflict
undo         rejected:not_paid     rejected:not_paid     rejected               applied:placed+1       applied:in_progress+1  applied:in_progress+1  rejected             conflict   conflict  conflict
undo_late    rejected:not_paid     rejected:not_paid     superseded             superseded             superseded             superseded             rejected             conflict   conflict  conflict
cancel       applied:cancelled+1   applied:cancelled+1   applied:cancelled+1    applied:cancelled+1    rejected               rejected               rejected             noop       conflict  conflict
seen         rejected:not_paid     rejected:not_paid     applied:placed+0       applied:in_progress+0  applied:ready+0        applied:ready+0        applied:picked_up+0  conflict   conflict  conflict
take_payment rejected:not_paid     rejected:not_paid     rejected               rejected               rejected               applied:ready+1        rejected             conflict   conflict  conflict
`

func TestConflicts(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	maker, other := s.device(t, testStore), s.device(t, testStore)
	rows := strings.Split(strings.TrimSpace(conflictTable), "\n")
	for column, state := range strings.Fields(rows[0]) {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			var befores []order
			for range rows[1:] {
				befores = append(befores, s.orderIn(t, state, maker))
			}
			var commands []object
			for i, row := range rows[1:] {
				befores[i] = s.get(t, befores[i]).with(befores[i].Token) // a slow card may have come to "unknown" meanwhile
				commands = append(commands, conflicting(strings.Fields(row)[0], befores[i]))
			}
			for i, r := range s.commands(t, other, commands...) {
				cells := strings.Fields(rows[i+1])
				checkCell(t, cells[0]+" meets "+state, cells[column+1], befores[i], r)
				if now := s.get(t, befores[i]); now.Status != r.Order.Status || now.Version < r.Order.Version {
					t.Errorf("%s meets %s: the result shows %s %d, the order is %s %d", cells[0], state,
						r.Order.Status, r.Order.Version, now.Status, now.Version)
				}
			}
		})
	}
}

// orderIn is an order brought into a state by a device where that takes one.
func (s *shop) orderIn(t *testing.T, state, device string) order {
	t.Helper()
	card := func(token string) object { return latte(object{"payment": object{"method": "card", "token": token}}) }
	switch state {
	case "payment_pending":
		return s.place(t, card("tok_slow")).wants(t, http.StatusAccepted).order(t)
	case "payment_failed":
		return s.place(t, card("tok_declined"), "Prefer: wait=10").wants(t, http.StatusCreated).order(t)
	case "due":
		o := s.place(t, atCounter()).wants(t, http.StatusCreated).order(t)
		return s.moved(t, device, o, "ready")
	case "cancelled":
		o := s.placed(t, latte(nil))
		s.call(t, "POST", o.path()+"/cancel", o.Token, object{}).wants(t, http.StatusOK)
		return s.eventually(t, o, 10*time.Second, func(o order) bool { return o.Payment.Status == "refunded" }).with(o.Token)
	case "expired":
		o := s.orderIn(t, "payment_failed", device)
		return s.advance(t, o, db.Expire(time.Now().Add(time.Hour)))
	case "abandoned":
		o := s.orderIn(t, "ready", device)
		return s.advance(t, o, db.Abandon(time.Now().Add(time.Hour)))
	}
	steps := map[string][]string{"placed": nil, "in_progress": {"start"}, "ready": {"start", "ready"}, "picked_up": {"start", "ready", "collect"}}[state]
	return s.moved(t, device, s.placed(t, latte(nil)), steps...)
}

// moved carries out the commands, all of which must be applied, and returns the order with its token.
func (s *shop) moved(t *testing.T, device string, o order, kinds ...string) order {
	t.Helper()
	for _, kind := range kinds {
		o = s.do(t, device, kind, o, "applied").Order.with(o.Token)
	}
	return o
}

// advance makes a timer's decision now.
func (s *shop) advance(t *testing.T, o order, decide db.Decision) order {
	t.Helper()
	if _, err := s.api.orders.Advance(t.Context(), s.ref(t, o), decide); err != nil {
		t.Fatal(err)
	}
	return s.get(t, o).with(o.Token)
}

func (s *shop) ref(t *testing.T, o order) db.OrderRef {
	t.Helper()
	store, _ := s.api.catalog.Store(o.Store)
	return db.OrderRef{StoreID: store.ID, ID: uuid.MustParse(o.ID)}
}

func (o order) with(token string) order {
	o.Token = token
	return o
}

func conflicting(kind string, o order) object {
	switch kind {
	case "undo":
		return command(kind, object{"order": o.ID, "base_version": o.Version})
	case "undo_late":
		return command("undo", object{"order": o.ID, "base_version": max(1, o.Version-1)})
	case "cancel":
		return command(kind, object{"order": o.ID, "reason": "out of milk"})
	}
	return command(kind, object{"order": o.ID})
}

func checkCell(t *testing.T, what, cell string, before order, r result) {
	t.Helper()
	want, detail, _ := strings.Cut(cell, ":")
	if r.Result != want || r.Order == nil || r.Order.ID != before.ID {
		t.Errorf("%s: %v about %v, want %s", what, r, r.Order, cell)
		return
	}
	status, versions := before.Status, 0
	if want == "applied" {
		at := strings.LastIndex(detail, "+")
		status, versions = detail[:at], int(detail[at+1]-'0')
	}
	if r.Order.Status != status || r.Order.Version != before.Version+versions {
		t.Errorf("%s: the order went from %s %d to %s %d, want %s", what, before.Status, before.Version, r.Order.Status, r.Order.Version, cell)
	}
	switch {
	case want == "rejected" && (r.Reason == "" || detail != "" && r.Reason != detail):
		t.Errorf("%s: rejected with the reason %q, want %q", what, r.Reason, detail)
	case want == "conflict" && r.Reason != before.Status:
		t.Errorf("%s: the conflict is with %q, want %q", what, r.Reason, before.Status)
	}
}

func TestStartNamesTheHolder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	one, two := s.device(t, testStore), s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	started := s.do(t, one, "start", o, "applied")
	holder := started.Order.History[len(started.Order.History)-1].By
	for _, device := range []string{one, two} {
		if r := s.do(t, device, "start", o, "noop"); r.Holder != holder || !strings.HasPrefix(holder, "device:") {
			t.Errorf("the holder is %q, the history says %q", r.Holder, holder)
		}
	}
	s.do(t, two, "undo", o, "applied", object{"base_version": started.Order.Version})
	again := s.do(t, two, "ready", o, "applied")
	if n := len(again.Order.History); again.Order.History[n-2].Status != "in_progress" || again.Order.History[n-2].By == holder {
		t.Errorf("ready on placed left the history %v", again.Order.History)
	}
	back := s.do(t, one, "undo", o, "applied", object{"base_version": again.Order.Version})
	if r := s.do(t, one, "start", o, "noop"); r.Holder != back.Order.History[len(back.Order.History)-2].By {
		t.Errorf("after the undo the holder is %q, the history %v", r.Holder, back.Order.History)
	}
}

func TestUndoByBaseVersion(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	one, two := s.device(t, testStore), s.device(t, testStore)
	o := s.moved(t, one, s.place(t, atCounter()).order(t), "start", "ready")
	s.do(t, one, "undo", o, "rejected", object{"base_version": o.Version + 1})
	paid := s.do(t, two, "take_payment", o, "applied").Order
	s.do(t, one, "undo", o, "superseded", object{"base_version": o.Version})
	step := s.do(t, one, "undo", o, "applied", object{"base_version": paid.Version}).Order
	if step.Status != "in_progress" || step.Payment.Status != "captured" {
		t.Errorf("undone to %s, the payment is %s", step.Status, step.Payment.Status)
	}
	s.do(t, two, "undo", o, "superseded", object{"base_version": paid.Version})
	s.do(t, two, "undo", o, "applied", object{"base_version": step.Version})
	if now := s.get(t, o); now.Status != "placed" || now.Version != step.Version+1 {
		t.Errorf("the order is %s %d", now.Status, now.Version)
	}
}

func TestTillAndSeen(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	for _, state := range []string{"placed", "in_progress", "ready"} {
		o := s.place(t, atCounter()).order(t)
		for _, kind := range map[string][]string{"in_progress": {"start"}, "ready": {"ready"}}[state] {
			s.do(t, board, kind, o, "applied")
		}
		paid := s.do(t, board, "take_payment", o, "applied").Order
		if paid.Status != state || paid.Payment.Status != "captured" || paid.Payment.Captured != o.Total {
			t.Errorf("paid at the till while %s: %s, %+v of %d", state, paid.Status, paid.Payment, o.Total)
		}
		s.do(t, board, "take_payment", o, "noop")
		s.do(t, board, "seen", o, "applied")
		s.do(t, board, "seen", o, "noop")
	}
	o := s.place(t, atCounter()).order(t)
	s.do(t, board, "take_payment", o, "applied")
	s.moved(t, board, o, "ready", "collect")
	s.do(t, board, "take_payment", o, "noop")
	cancelled := s.place(t, atCounter()).order(t)
	s.do(t, board, "take_payment", cancelled, "applied")
	back := s.do(t, board, "cancel", cancelled, "applied", object{"reason": "spilled"}).Order
	if back.Payment.Status != "refunded" || back.Payment.Refunded != o.Total {
		t.Errorf("cash given back: %+v", back.Payment)
	}
}

func TestUnknownOrder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board, elsewhere := s.device(t, testStore), s.device(t, "hayes-valley")
	o := s.place(t, atCounter()).order(t)
	for _, kind := range []string{"start", "ready", "collect", "undo", "cancel", "seen", "take_payment"} {
		nobodys := conflicting(kind, order{ID: uuid.Must(uuid.NewV7()).String(), Version: 1})
		if r := s.commands(t, board, nobodys)[0]; r.Result != "rejected" || r.Reason != "unknown_order" || r.Order != nil {
			t.Errorf("%s of an order that does not exist: %v", kind, r)
		}
		var body struct{ Results []result }
		s.call(t, "POST", "/v1/stores/hayes-valley/commands", elsewhere, object{"commands": []object{conflicting(kind, o)}}).
			wants(t, http.StatusOK).into(t, &body)
		if r := body.Results[0]; r.Result != "rejected" || r.Reason != "unknown_order" || r.Order != nil {
			t.Errorf("%s of another store's order: %v", kind, r)
		}
	}
	if now := s.get(t, o); now.Version != 1 {
		t.Errorf("the other store moved the order to %s %d", now.Status, now.Version)
	}
}

// TestOneDeviceStarts has many devices tap the same ticket at once.
func TestOneDeviceStarts(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const devices = 12
	o := s.place(t, atCounter()).order(t)
	var tokens []string
	for range devices {
		tokens = append(tokens, s.device(t, testStore))
	}
	results := make([]result, devices)
	var wave sync.WaitGroup
	for i, token := range tokens {
		wave.Go(func() { results[i] = s.commands(t, token, command("start", object{"order": o.ID}))[0] })
	}
	wave.Wait()
	now := s.get(t, o)
	applied := slices.IndexFunc(results, func(r result) bool { return r.Result == "applied" })
	if applied < 0 || now.Version != 2 || now.Status != "in_progress" {
		t.Fatalf("the order is %s %d: %v", now.Status, now.Version, results)
	}
	for i, r := range results {
		if i != applied && (r.Result != "noop" || r.Holder != now.History[1].By) {
			t.Errorf("one of the others got %v, holder %q; %q has it", r, r.Holder, now.History[1].By)
		}
	}
}

func TestBoardSnapshot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	var want []string
	for i, state := range []string{"placed", "payment_failed", "ready", "cancelled", "in_progress", "picked_up", "due", "abandoned", "expired", "placed", "payment_pending"} {
		o := s.orderIn(t, state, board)
		if slices.Contains([]string{"placed", "in_progress", "ready", "due"}, state) {
			want = append(want, fmt.Sprintf("%s %s", o.ID, o.Status))
		}
		if o.Number != i+1 {
			t.Errorf("order %d has the number %d", i+1, o.Number)
		}
	}
	var body struct {
		Store  string
		Orders []order
		AsOf   time.Time `json:"as_of"`
	}
	s.call(t, "GET", "/v1/stores/"+testStore+"/board", board, nil).wants(t, http.StatusOK).into(t, &body)
	var got []string
	for _, o := range body.Orders {
		got = append(got, fmt.Sprintf("%s %s", o.ID, o.Status))
	}
	if !slices.Equal(got, want) {
		t.Errorf("on the board, oldest first, are\n%v, want\n%v", got, want)
	}
	if body.Store != testStore || time.Since(body.AsOf).Abs() > 10*time.Second {
		t.Errorf("the board is %s's as of %v", body.Store, body.AsOf)
	}
}

// counterOrders places orders that need no provider, at most 16 at a time.
func (s *shop) counterOrders(t *testing.T, n int) []order {
	t.Helper()
	orders := make([]order, n)
	places := make(chan struct{}, 16)
	var wave sync.WaitGroup
	for i := range orders {
		places <- struct{}{}
		wave.Go(func() {
			defer func() { <-places }()
			orders[i] = s.place(t, atCounter()).wants(t, http.StatusCreated).order(t)
		})
	}
	wave.Wait()
	return orders
}
