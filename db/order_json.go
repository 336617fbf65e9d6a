package db

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// rendering keeps an order's JSON once somebody has asked for it.
type rendering struct {
	once sync.Once
	json []byte
	body *orderBody // may be shared with other versions of the order
}

// orderBody keeps the members of an order that never change.
type orderBody struct {
	once sync.Once
	json []byte
}

// orderLines are the members that never change.
type orderLines struct {
	Customer Customer     `json:"customer"`
	Lines    []PricedLine `json:"lines"`
	Subtotal int64        `json:"subtotal"`
	Discount int64        `json:"discount"`
	Tax      int64        `json:"tax"`
	Tip      int64        `json:"tip"`
	Total    int64        `json:"total"`
	Currency string       `json:"currency"`
}

// refundView is a refund as its customer sees it.
type refundView struct {
	Amount int64       `json:"amount"`
	Tax    int64       `json:"tax"`
	Tip    int64       `json:"tip"`
	Lines  []LineUnits `json:"lines"`
	Status string      `json:"status"`
	Reason string      `json:"reason,omitempty"`
	At     time.Time   `json:"at"`
}

// JSON is the order as the contract shows it. It is rendered once for all watchers; callers must
// not write to it. Every order is rendered five times or more, so what changes is written by hand: that takes a
// third of the time.
func (o *Order) JSON() []byte {
	o.once.Do(func() {
		body := o.body
		if body == nil {
			body = new(orderBody)
		}
		body.once.Do(func() {
			s := &o.Snapshot
			body.json = mustMarshal(o, orderLines{s.Customer, s.Lines, s.Subtotal, s.Discount, s.Tax, s.Tip, s.Total, s.Currency})
		})
		whole := make([]byte, 0, len(body.json)+headMost+stepMost*len(o.Steps))
		whole = append(o.appendHead(whole), body.json[1:len(body.json)-1]...)
		o.json = o.appendTail(whole)
	})
	return o.json
}

// headMost and stepMost are bytes enough, nearly always, for what is written by hand of an order and of each of its steps.
const (
	headMost = 640
	stepMost = 96
)

// MarshalJSON is JSON, for what holds orders.
func (o *Order) MarshalJSON() ([]byte, error) { return o.JSON(), nil }

// appendHead appends the members before those that never change.
func (o *Order) appendHead(b []byte) []byte {
	b = appendText(append(b, `{"id":`...), o.ID.String())
	b = appendText(append(b, `,"store":`...), o.Store)
	b = strconv.AppendInt(append(b, `,"number":`...), int64(o.Number), 10)
	b = appendText(append(b, `,"status":`...), string(o.Status))
	b = strconv.AppendInt(append(b, `,"version":`...), int64(o.Version), 10)
	b = appendText(append(b, `,"fulfilment":`...), o.Fulfilment)
	if o.PickupAt != nil {
		b = appendTime(append(b, `,"pickup_at":`...), *o.PickupAt)
	}
	if o.ReadyEstimate != nil {
		b = appendTime(append(b, `,"ready_estimate":`...), *o.ReadyEstimate)
	}
	return append(b, ',')
}

// appendTail appends the members after those that never change.
func (o *Order) appendTail(b []byte) []byte {
	p := &o.Payment
	b = appendText(append(b, `,"payment":{"method":`...), p.Method)
	b = appendText(append(b, `,"status":`...), string(p.Status))
	b = strconv.AppendInt(append(b, `,"captured":`...), p.Captured, 10)
	b = strconv.AppendInt(append(b, `,"refunded":`...), p.Refunded, 10)
	if p.Failure != "" {
		b = appendText(append(b, `,"failure":`...), p.Failure)
	}
	b = append(b, '}')
	if len(o.Refunds) > 0 {
		b = append(append(b, `,"refunds":`...), mustMarshal(o, o.refundViews())...)
	}
	b = o.appendHistory(append(b, `,"history":`...))
	b = appendTime(append(b, `,"placed_at":`...), o.PlacedAt)
	b = appendTime(append(b, `,"updated_at":`...), o.UpdatedAt)
	return append(b, '}')
}

// appendHistory lists the changes of status: a version may also change the payment alone.
func (o *Order) appendHistory(b []byte) []byte {
	comma := byte('[')
	for i, step := range o.Steps {
		if i > 0 && step.Status == o.Steps[i-1].Status {
			continue
		}
		b = appendText(append(append(b, comma), `{"status":`...), string(step.Status))
		b = appendTime(append(b, `,"at":`...), step.At)
		b = append(appendText(append(b, `,"by":`...), step.By), '}')
		comma = ','
	}
	return append(b, ']')
}

// appendText appends a JSON string. The database holds UTF-8 alone.
func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text)
	return b
}

func appendTime(b []byte, at time.Time) []byte {
	return append(at.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

func mustMarshal(o *Order, part any) []byte {
	data, err := json.Marshal(part)
	if err != nil {
		panic(fmt.Sprintf("order %s cannot be rendered: %v", o.ID, err))
	}
	return data
}

func (o *Order) refundViews() []refundView {
	views := make([]refundView, 0, len(o.Refunds))
	for _, r := range o.Refunds {
		if strings.HasPrefix(r.By, "device:") { // why a barista cancelled is for the shop alone
			r.Reason = ""
		}
		views = append(views, refundView{r.Amount, r.Tax, r.Tip, append([]LineUnits{}, r.Lines...), r.Status, r.Reason, r.At})
	}
	return views
}
