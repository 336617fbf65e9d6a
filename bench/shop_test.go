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
	backwards bool // a stream repeats a version
	takes     bool // the money is taken twice
	invents   bool // one POST makes two orders
	hangs     bool // a stream says more after the end
	refuses   bool // placing is refused, with a Retry-After
	forgets   bool // placing is refused, without one
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
	changed                   chan struct{}
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
		_, _ = w.Write([]byte(`{"version":"1"}`))
	})
	mux.HandleFunc("POST /v1/stores/{store}/quotes", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"lines":[],"subtotal":500,"discount":0,"tax":40,"tip":10,"total":550}`))
	})
	mux.HandleFunc("POST /v1/stores/{store}/orders", s.place)
	mux.HandleFunc("GET /v1/stores/{store}/orders", s.history)
	mux.HandleFunc("GET /v1/stores/{store}/orders/{id}/live", s.live)
	mux.HandleFunc("POST /v1/stores/{store}/commands", s.command)
	return mux
}

func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Customer struct{ Name string }
		Payment  struct{ Method string }
		Expected int64 `json:"expected_total"`
	}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil || r.Header.Get("Idempotency-Key") == "" || wanted.Expected != 550 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if s.lies.refuses || s.lies.forgets {
		if s.lies.refuses {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	o := s.add(wanted.Customer.Name, wanted.Payment.Method == "counter")
	if s.lies.invents {
		s.add(wanted.Customer.Name, false)
	}
	w.WriteHeader(map[bool]int{true: http.StatusCreated, false: http.StatusAccepted}[o.counter])
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = w.Write([]byte(strings.TrimSuffix(o.render(), "}") + `,"token":"fpo_x"}`))
	if !o.counter {
		go s.settle(o)
	}
}

func (s *shop) add(name string, counter bool) *shopOrder {
	o := &shopOrder{
		id: uuid.Must(uuid.NewV7()).String(), status: "payment_pending", payment: "pending", name: name, version: 1, total: 550,
		changed: make(chan struct{}), counter: counter,
	}
	if counter {
		o.status, o.payment = "placed", "due"
	}
	if s.lies.doubles {
		o.total *= 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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

func (o *shopOrder) render() string {
	method := map[bool]string{true: "counter", false: "card"}[o.counter]
	return fmt.Sprintf(`{"id":%q,"status":%q,"version":%d,"customer":{"name":%q},"total":%d,"payment":{"method":%q,"status":%q,"captured":%d,"refunded":0},"updated_at":%q}`,
		o.id, o.status, o.version, o.name, o.total, method, o.payment, o.captured, time.Now().UTC().Format(time.RFC3339Nano))
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
		version, status, state, changed := o.version, o.status, o.render(), o.changed
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
	_, _ = fmt.Fprintf(w, `{"results":[{"id":%q,"result":"applied","order":%s}]}`, sent.Commands[0].ID, o.render())
}

func (s *shop) history(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []string
	for i, o := range s.orders {
		if i > 0 || !s.lies.loses {
			rows = append(rows, o.render())
		}
	}
	_, _ = fmt.Fprintf(w, `{"orders":[%s]}`, strings.Join(rows, ","))
}
