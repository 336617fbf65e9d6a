package main

import (
	"unsafe"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
)

// State is where an order stands. Its texts are part of the memory that it was read from: they hold until the next
// exchange.
type State struct {
	ID, Status string
	Version    int64
}

// Order is what the checks need of an order as the target shows it.
type Order struct {
	State
	Token, Updated string
	Customer       string // the name
	Total          int64
	Payment        struct {
		Method, Status     string
		Captured, Refunded int64
	}
}

// readState reads no more of an order than it must: most of what a run is sent are steps in between.
func readState(raw []byte) (s State, err error) {
	parsed := gjson.Parse(text(raw))
	if !parsed.IsObject() {
		return s, faultf("answer", "not an order: %.200s", raw)
	}
	parsed.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			s.ID = value.Str
		case "status":
			s.Status = value.Str
		case "version":
			s.Version = value.Int()
		}
		return !s.whole()
	})
	if !s.whole() {
		return s, faultf("answer", "not a whole order: %.200s", raw)
	}
	return s, nil
}

func (s *State) whole() bool { return s.ID != "" && s.Status != "" && s.Version > 0 }

// text and bytesOf look at the same memory without copying it.
func text(raw []byte) string { return unsafe.String(unsafe.SliceData(raw), len(raw)) }

func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// readOrder reads an order in one pass and copies nothing.
func readOrder(raw []byte) (o Order, err error) {
	parsed := gjson.Parse(text(raw))
	if !parsed.IsObject() {
		return o, faultf("answer", "not an order: %.200s", raw)
	}
	parsed.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			o.ID = value.Str
		case "status":
			o.Status = value.Str
		case "version":
			o.Version = value.Int()
		case "total":
			o.Total = value.Int()
		case "token":
			o.Token = value.Str
		case "updated_at":
			o.Updated = value.Str
		case "payment":
			o.readPayment(value)
		case "customer":
			o.Customer = value.Get("name").Str
		}
		return true
	})
	if !o.whole() {
		return o, faultf("answer", "not a whole order: %.200s", raw)
	}
	return o, nil
}

func (o *Order) readPayment(payment gjson.Result) {
	payment.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "method":
			o.Payment.Method = value.Str
		case "status":
			o.Payment.Status = value.Str
		case "captured":
			o.Payment.Captured = value.Int()
		case "refunded":
			o.Payment.Refunded = value.Int()
		}
		return true
	})
}

// paidOnce checks that exactly the total was taken, or of who wanted to pay at the counter that nothing was yet.
func (o *Order) paidOnce(counter bool) error {
	p := o.Payment
	switch {
	case counter && p.Method == "counter" && p.Status == "due" && p.Captured == 0 && p.Refunded == 0:
	case !counter && p.Method == "card" && p.Status == "captured" && p.Captured == o.Total && p.Refunded == 0:
	default:
		return faultf("payment", "order %s of %d, at the counter %t: payment by %s is %s, %d captured, %d refunded", o.ID, o.Total, counter,
			p.Method, p.Status, p.Captured, p.Refunded)
	}
	return nil
}

// newKey is a random UUID as a real shop's page or board makes them.
func newKey() string { return uuid.NewString() }
