package db

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
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

// orderHead, orderLines and orderTail are, one after the other, the order as the contract shows it.
type orderHead struct {
	ID            uuid.UUID  `json:"id"`
	Store         string     `json:"store"`
	Number        int        `json:"number"`
	Status        Status     `json:"status"`
	Version       int        `json:"version"`
	Fulfilment    string     `json:"fulfilment"`
	PickupAt      *time.Time `json:"pickup_at,omitempty"`
	ReadyEstimate *time.Time `json:"ready_estimate,omitempty"`
}

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

type orderTail struct {
	Payment   Payment       `json:"payment"`
	Refunds   []refundView  `json:"refunds,omitempty"`
	History   []historyView `json:"history"`
	PlacedAt  time.Time     `json:"placed_at"`
	UpdatedAt time.Time     `json:"updated_at"`
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

type historyView struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}

// JSON is the order as the contract shows it. It is rendered once for all watchers; callers must
// not write to it.
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
		head := mustMarshal(o, orderHead{o.ID, o.Store, o.Number, o.Status, o.Version, o.Fulfilment, o.PickupAt, o.ReadyEstimate})
		tail := mustMarshal(o, orderTail{o.Payment, o.refundViews(), o.history(), o.PlacedAt, o.UpdatedAt})
		o.json = spliced(head, body.json, tail)
	})
	return o.json
}

// MarshalJSON is JSON, for what holds orders.
func (o *Order) MarshalJSON() ([]byte, error) { return o.JSON(), nil }

// spliced makes one object of several, none of them empty.
func spliced(objects ...[]byte) []byte {
	size := 1
	for _, object := range objects {
		size += len(object) - 1
	}
	whole := make([]byte, 0, size)
	for i, object := range objects {
		if i > 0 {
			whole[len(whole)-1] = ','
			object = object[1:]
		}
		whole = append(whole, object...)
	}
	return whole
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

// history lists the changes of status: a version may also change the payment alone.
func (o *Order) history() []historyView {
	views := make([]historyView, 0, len(o.Steps))
	for i, step := range o.Steps {
		if i == 0 || step.Status != o.Steps[i-1].Status {
			views = append(views, historyView{step.Status, step.At, step.By})
		}
	}
	return views
}
