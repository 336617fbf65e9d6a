package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// lies are what a shop may do wrong. The zero value is honest.
type lies struct {
	loses     bool // the history lacks one order
	doubles   bool // an order is placed at twice its price
	cheap     bool // every line costs ten cents
	single    bool // two are sold at the price of one
	tips      bool // the tip is forgotten
	swaps     bool // an order is of other lines than were sent
	treats    bool // who pays by card is sent to the counter
	shares    bool // two customers are given one order
	sneaks    bool // placing is refused, and the order is made all the same
	backwards bool // a stream repeats a version
	takes     bool // the money is taken twice
	invents   bool // one POST makes two orders
	hangs     bool // a stream says more after the end
	refuses   bool // placing is refused, with a Retry-After
	forgets   bool // placing is refused, without one
	early     bool // its clock is ahead
	pages     bool // no lie: the history comes in pages, with a cursor that an address must escape
	deaf      bool // commands are a fault of its own
}

// shop is a small shop that keeps the contract in memory, but for its lies.
type shop struct {
	lies   lies
	mu     sync.Mutex
	orders []*shopOrder
}

type shopOrder struct {
	id, status, name, payment string
	counter                   bool
	version                   int
	total, captured           int64
	lines                     string // and the sums
	changed                   chan struct{}
}

// prices are the shop's, by item and size, and by option.
var prices = map[string]int64{"lattesmall": 400, "lattemedium": 450, "lattelarge": 500, "croissant": 300, "oat": 60, "shot": 80}

const shopMenu = `{"version":"1","categories":[{"items":[
	{"id":"latte","tax_rate":"0.1","sizes":[{"id":"small","price":400},{"id":"medium","price":450},{"id":"large","price":500}],"option_groups":[
		{"substitution":true,"options":[{"id":"whole","price":20,"default_units":1},{"id":"oat","price":80}]},{"options":[{"id":"shot","price":80}]}]},
	{"id":"croissant","tax_rate":"0.1","base_price":300}]}]}`

// shopRequest is what a customer asks for.
type shopRequest struct {
	Customer struct{ Name string }
	Payment  struct{ Method string }
	Expected int64 `json:"expected_total"`
	Tip      int64
	Lines    []struct {
		Item, Size string
		Quantity   int64
		Options    []struct {
			ID    string
			Units int64
		}
	}
}

// price gives the lines and sums, and the total once more.
func (s *shop) price(wanted *shopRequest) (priced string, total int64) {
	var lines []string
	var subtotal int64
	for _, line := range wanted.Lines {
		cost := prices[line.Item+line.Size]
		for _, option := range line.Options {
			cost += option.Units * prices[option.ID]
		}
		switch {
		case s.lies.cheap:
			cost = 10
		case !s.lies.single:
			cost *= line.Quantity
		}
		subtotal += cost
		lines = append(lines, fmt.Sprintf(`{"item":%q,"size":%q,"quantity":%d,"total":%d,"tax":%d}`, line.Item, line.Size, line.Quantity, cost, cost/10))
	}
	tip := wanted.Tip
	if s.lies.tips {
		tip = 0
	}
	total = subtotal + subtotal/10 + tip
	return fmt.Sprintf(`"lines":[%s],"subtotal":%d,"discount":0,"tax":%d,"tip":%d`, strings.Join(lines, ","), subtotal, subtotal/10, tip), total
}

func openShop(t *testing.T, l lies) *httptest.Server {
	t.Helper()
	server := httptest.NewServer((&shop{lies: l}).routes())
	t.Cleanup(server.Close)
	return server
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/stores/{store}/menu", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(shopMenu))
	})
	mux.HandleFunc("POST /v1/stores/{store}/quotes", func(w http.ResponseWriter, r *http.Request) {
		var wanted shopRequest
		_ = json.NewDecoder(r.Body).Decode(&wanted)
		lines, total := s.price(&wanted)
		_, _ = fmt.Fprintf(w, `{%s,"total":%d}`, lines, total)
	})
	mux.HandleFunc("POST /v1/stores/{store}/orders", s.place)
	mux.HandleFunc("GET /v1/stores/{store}/orders", s.history)
	mux.HandleFunc("GET /v1/stores/{store}/orders/{id}/live", s.live)
	mux.HandleFunc("POST /v1/stores/{store}/commands", s.command)
	return mux
}

func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	var wanted shopRequest
	err := json.NewDecoder(r.Body).Decode(&wanted)
	if _, total := s.price(&wanted); err != nil || r.Header.Get("Idempotency-Key") == "" || wanted.Expected != total {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if s.lies.sneaks {
		s.add(&wanted)
	}
	if s.lies.refuses || s.lies.sneaks || s.lies.forgets {
		if !s.lies.forgets {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	o := s.add(&wanted)
	if s.lies.invents {
		s.add(&wanted)
	}
	w.WriteHeader(map[bool]int{true: http.StatusCreated, false: http.StatusAccepted}[o.counter])
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = w.Write([]byte(strings.TrimSuffix(o.render(s.lies.early), "}") + `,"token":"fpo_x"}`))
	if !o.counter {
		go s.settle(o)
	}
}

func (s *shop) add(wanted *shopRequest) *shopOrder {
	o := &shopOrder{
		id: uuid.Must(uuid.NewV7()).String(), status: "payment_pending", payment: "pending", name: wanted.Customer.Name, version: 1,
		changed: make(chan struct{}), counter: wanted.Payment.Method == "counter" || s.lies.treats,
	}
	o.lines, o.total = s.price(wanted)
	if s.lies.swaps {
		o.lines = strings.Replace(o.lines, `"quantity":`, `"quantity":1`, 1)
	}
	if o.counter {
		o.status, o.payment = "placed", "due"
	}
	if s.lies.doubles {
		o.total *= 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lies.shares && len(s.orders) > 0 {
		return s.orders[0]
	}
	s.orders = append(s.orders, o)
	return o
}

func (s *shop) settle(o *shopOrder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.payment, o.captured = "captured", o.total
	if s.lies.takes {
		o.captured *= 2
	}
	o.move("placed")
}

func (o *shopOrder) move(status string) {
	o.status = status
	o.version++
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *shopOrder) render(ahead bool) string {
	now := time.Now()
	if ahead {
		now = now.Add(time.Second)
	}
	method := map[bool]string{true: "counter", false: "card"}[o.counter]
	return fmt.Sprintf(`{"id":%q,"status":%q,"version":%d,"customer":{"name":%q},%s,"total":%d,"payment":{"method":%q,"status":%q,"captured":%d,"refunded":0},"updated_at":%q}`,
		o.id, o.status, o.version, o.name, o.lines, o.total, method, o.payment, o.captured, now.UTC().Format(time.RFC3339Nano))
}

func (s *shop) find(id string) *shopOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.id == id {
			return o
		}
	}
	return nil
}

func (s *shop) live(w http.ResponseWriter, r *http.Request) {
	o := s.find(r.PathValue("id"))
	for {
		s.mu.Lock()
		version, status, state, changed := o.version, o.status, o.render(s.lies.early), o.changed
		s.mu.Unlock()
		_, _ = fmt.Fprintf(w, ": a comment\n\nid: %d\ndata: %s\n\n", version, state)
		if s.lies.backwards {
			_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", version, state)
		}
		_ = http.NewResponseController(w).Flush()
		if status == "picked_up" {
			if s.lies.hangs {
				_, _ = fmt.Fprintf(w, "data: %s\n\n", state)
			}
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *shop) command(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Commands []struct{ ID, Type, Order string }
	}
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || len(sent.Commands) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if s.lies.deaf {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	o := s.find(sent.Commands[0].Order)
	s.mu.Lock()
	defer s.mu.Unlock()
	o.move(map[string]string{"start": "in_progress", "ready": "ready", "collect": "picked_up", "undo": "placed"}[sent.Commands[0].Type])
	_, _ = fmt.Fprintf(w, `{"results":[{"id":%q,"result":"applied","order":%s}]}`, sent.Commands[0].ID, o.render(s.lies.early))
}

func (s *shop) history(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []string
	for i, o := range s.orders {
		if i > 0 || !s.lies.loses {
			rows = append(rows, o.render(s.lies.early))
		}
	}
	if half := len(rows) / 2; s.lies.pages && r.URL.Query().Get("cursor") == "&from=+" {
		rows = rows[half:]
	} else if s.lies.pages {
		_, _ = fmt.Fprintf(w, `{"orders":[%s],"next_cursor":"&from=+"}`, strings.Join(rows[:half], ","))
		return
	}
	_, _ = fmt.Fprintf(w, `{"orders":[%s]}`, strings.Join(rows, ","))
}
