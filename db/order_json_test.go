package db

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// shownOrder is an order as the contract shows it, but for what was ordered.
type shownOrder struct {
	ID            uuid.UUID    `json:"id"`
	Store         string       `json:"store"`
	Number        int          `json:"number"`
	Status        Status       `json:"status"`
	Version       int          `json:"version"`
	Fulfilment    string       `json:"fulfilment"`
	PickupAt      *time.Time   `json:"pickup_at,omitempty"`
	ReadyEstimate *time.Time   `json:"ready_estimate,omitempty"`
	Payment       Payment      `json:"payment"`
	Refunds       []refundView `json:"refunds,omitempty"`
	History       []shownStep  `json:"history"`
	PlacedAt      time.Time    `json:"placed_at"`
	UpdatedAt     time.Time    `json:"updated_at"`
	orderLines
}

type shownStep struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}

// TestOrderJSON compares what is written by hand with what a library makes of the same order.
func TestOrderJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		o := drawOrder(rt)
		s := &o.Snapshot
		want := shownOrder{o.ID, o.Store, o.Number, o.Status, o.Version, o.Fulfilment, o.PickupAt, o.ReadyEstimate, o.Payment, o.refundViews(),
			nil, o.PlacedAt, o.UpdatedAt, orderLines{s.Customer, s.Lines, s.Subtotal, s.Discount, s.Tax, s.Tip, s.Total, s.Currency}}
		for i, step := range o.Steps {
			if i == 0 || step.Status != o.Steps[i-1].Status {
				want.History = append(want.History, shownStep{step.Status, step.At, step.By})
			}
		}
		if a, b := parsed(rt, o.JSON()), parsed(rt, mustMarshal(o, want)); !reflect.DeepEqual(a, b) {
			rt.Fatalf("by hand  %v\nlibrary  %v", a, b)
		}
	})
}

func parsed(t *rapid.T, text []byte) (value map[string]any) {
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

func drawOrder(t *rapid.T) *Order {
	text, status := rapid.String(), rapid.SampledFrom([]Status{PaymentPending, StatusPlaced, InProgress, Ready, PickedUp})
	amount := rapid.Int64Range(0, 1<<50)
	at := rapid.Custom(func(t *rapid.T) time.Time { return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC() })
	o := &Order{
		ID: uuid.New(), Store: text.Draw(t, "store"), Number: rapid.IntRange(1, 1e6).Draw(t, "number"), Status: status.Draw(t, "status"),
		Version: rapid.IntRange(1, 9).Draw(t, "version"), Fulfilment: "pickup", PickupAt: rapid.Ptr(at, true).Draw(t, "pickup"),
		ReadyEstimate: rapid.Ptr(at, true).Draw(t, "estimate"), PlacedAt: at.Draw(t, "placed"), UpdatedAt: at.Draw(t, "updated"),
		Payment: Payment{Method: "card", Status: Captured, Captured: amount.Draw(t, "captured"), Refunded: amount.Draw(t, "refunded"), Failure: text.Draw(t, "failure")},
	}
	o.Snapshot.Customer.Name, o.Snapshot.Lines, o.Snapshot.Total = text.Draw(t, "name"), []PricedLine{}, amount.Draw(t, "total")
	for range rapid.IntRange(1, 6).Draw(t, "steps") {
		o.Steps = append(o.Steps, Step{Status: status.Draw(t, "step"), At: at.Draw(t, "step at"), By: text.Draw(t, "by")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "refunds") {
		o.Refunds = append(o.Refunds, Refund{Amount: amount.Draw(t, "refund"), Reason: text.Draw(t, "reason"), At: at.Draw(t, "refund at"), By: "staff:ada"})
	}
	return o
}

// BenchmarkOrderJSON renders an order that was collected, whose lines are rendered already.
func BenchmarkOrderJSON(b *testing.B) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 123456000, time.UTC)
	first := &Order{ID: uuid.New(), Store: "ferry-building", Number: 7, Status: PickedUp, Version: 5, Fulfilment: "pickup", ReadyEstimate: &at,
		Payment: Payment{Method: "card", Status: Captured, Captured: 575}, PlacedAt: at, UpdatedAt: at}
	for n, status := range []Status{PaymentPending, StatusPlaced, InProgress, Ready, PickedUp} {
		first.Steps = append(first.Steps, Step{Version: n + 1, Status: status, At: at, By: "device:0199"})
	}
	first.JSON()
	b.ReportAllocs()
	for b.Loop() {
		first.next().JSON()
	}
}
