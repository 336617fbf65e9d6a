package db

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Status is where an order stands.
type Status string

// The states of an order; the last four are final.
const (
	PaymentPending Status = "payment_pending"
	PaymentFailed  Status = "payment_failed"
	StatusPlaced   Status = "placed"
	InProgress     Status = "in_progress"
	Ready          Status = "ready"
	PickedUp       Status = "picked_up"
	Cancelled      Status = "cancelled"
	Expired        Status = "expired"
	Abandoned      Status = "abandoned"
)

// Final tells whether the order has left the shop for good.
func (s Status) Final() bool {
	return s == PickedUp || s == Cancelled || s == Expired || s == Abandoned
}

// OnBoard tells whether the order stands on the store's board.
func (s Status) OnBoard() bool { return s == StatusPlaced || s == InProgress || s == Ready }

// Unpaid tells whether the order still waits for a card to be charged.
func (s Status) Unpaid() bool { return s == PaymentPending || s == PaymentFailed }

// PaymentStatus is where the money of an order stands.
type PaymentStatus string

// The states of a payment.
const (
	Pending           PaymentStatus = "pending"
	Unknown           PaymentStatus = "unknown"
	Captured          PaymentStatus = "captured"
	Failed            PaymentStatus = "failed"
	Void              PaymentStatus = "void"
	RefundPending     PaymentStatus = "refund_pending"
	Refunded          PaymentStatus = "refunded"
	PartiallyRefunded PaymentStatus = "partially_refunded"
	Due               PaymentStatus = "due"
)

// Settled tells whether the provider has nothing left to say of the payment.
func (s PaymentStatus) Settled() bool { return s != Pending && s != Unknown && s != RefundPending }

// OrderRef names one order.
type OrderRef struct {
	StoreID int32     `json:"s"`
	ID      uuid.UUID `json:"o"`
}

// Customer is what the shop calls out.
type Customer struct {
	Name string `json:"name"`
}

// Contact is where notifications go; it is never part of an answer.
type Contact struct {
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
	Push  string `json:"push,omitempty"`
}

// Payment is the money side of an order, in the currency's minor unit.
type Payment struct {
	Method   string        `json:"method"`
	Status   PaymentStatus `json:"status"`
	Captured int64         `json:"captured"`
	Refunded int64         `json:"refunded"`
	Failure  string        `json:"failure,omitempty"`

	Attempt int    `json:"-"` // counts the charges tried, from 1; 0 while none was needed
	Token   string `json:"-"` // the card token of a new attempt, on its way to the database
	Ref     string `json:"-"` // the provider's name of the charge, on its way to the database
	Words   string `json:"-"` // what the provider said of it, on its way to the database
}

// Step is one version of an order.
type Step struct {
	Version       int           `json:"version"`
	Status        Status        `json:"status"`
	PaymentStatus PaymentStatus `json:"payment_status"`
	By            string        `json:"by"`
	Reason        string        `json:"reason,omitempty"`
	At            time.Time     `json:"at"`
}

// Order is one order as it is at a version. An Order that was published or handed to a second
// goroutine is never written again.
type Order struct {
	StoreID       int32
	Store         string // slug
	ID            uuid.UUID
	Number        int
	Status        Status
	Version       int
	Fulfilment    string
	PickupAt      *time.Time
	SlotStartsAt  *time.Time
	ReadyEstimate *time.Time
	Snapshot      Snapshot
	Contact       *Contact
	Payment       Payment
	Refunds       []Refund // oldest first
	Holder        string   // the device that started it
	Seen          bool
	Steps         []Step // every version, oldest first
	PlacedAt      time.Time
	UpdatedAt     time.Time

	rendering
}

// Snapshot is what was ordered, at the prices of that moment. It never changes.
type Snapshot struct {
	Customer Customer `json:"customer"`
	Quote
}

// Ref names the order.
func (o *Order) Ref() OrderRef { return OrderRef{o.StoreID, o.ID} }

// next is a copy to be moved on, without what concerned the last move alone.
func (o *Order) next() *Order {
	n := &Order{
		StoreID: o.StoreID, Store: o.Store, ID: o.ID, Number: o.Number, Status: o.Status, Version: o.Version,
		Fulfilment: o.Fulfilment, PickupAt: o.PickupAt, SlotStartsAt: o.SlotStartsAt, ReadyEstimate: o.ReadyEstimate,
		Snapshot: o.Snapshot, Contact: o.Contact, Payment: o.Payment, Refunds: o.Refunds, Holder: o.Holder, Seen: o.Seen,
		Steps: slices.Clip(o.Steps), PlacedAt: o.PlacedAt, UpdatedAt: o.UpdatedAt,
	}
	n.Payment.Token, n.Payment.Ref, n.Payment.Words = "", "", ""
	if n.body = o.body; n.body == nil {
		n.body = new(orderBody)
	}
	return n
}

// AsPlaced is the order as of version 1, which the placing answer shows for ever.
func (o *Order) AsPlaced() *Order {
	first := o.Steps[0]
	placed := &Order{
		StoreID: o.StoreID, Store: o.Store, ID: o.ID, Number: o.Number, Status: first.Status, Version: 1,
		Fulfilment: o.Fulfilment, PickupAt: o.PickupAt, SlotStartsAt: o.SlotStartsAt, ReadyEstimate: o.ReadyEstimate,
		Snapshot: o.Snapshot, Contact: o.Contact, Steps: o.Steps[:1], PlacedAt: o.PlacedAt, UpdatedAt: first.At,
	}
	placed.Payment = Payment{Method: o.Payment.Method, Status: first.PaymentStatus}
	return placed
}

// orderColumns reads the store's slug by a subquery: a join with stores would let the planner go from the store to all
// its orders, which is what it chooses while the month's partition is still empty, and keeps for hours. Refunds are
// looked for only where the payment says that there are some.
const orderColumns = `
    o.store_id, (select slug from stores s where s.store_id = o.store_id), o.id, o.number, o.status, o.version, o.fulfilment, o.pickup_at, o.slot_starts_at,
    o.ready_estimate, o.snapshot, o.contact, o.payment_method, o.payment_status, o.attempt, o.captured,
    o.refunded, coalesce(o.failure, ''), coalesce(o.holder, ''), o.seen_at is not null, o.updated_at,
    (select json_agg(json_build_object('version', h.version, 'status', h.status,
                'payment_status', h.payment_status, 'by', h.by, 'reason', h.reason, 'at', h.at) order by h.version)
     from order_history h
     where h.store_id = o.store_id and h.order_id = o.id),
    case when o.payment_status in ('refund_pending', 'refunded', 'partially_refunded') then
        (select json_agg(json_build_object('n', r.n, 'amount', r.amount, 'sales', r.sales, 'tax', r.tax, 'tip', r.tip, 'lines', r.lines,
                    'method', r.method, 'reason', r.reason, 'by', r.by, 'status', r.status, 'failure', r.failure, 'ref', r.provider_ref,
                    'tries', r.tries, 'at', r.created_at, 'updated_at', r.updated_at) order by r.n)
         from refunds r
         where r.store_id = o.store_id and r.order_id = o.id) end`

func scanOrder(row pgx.CollectableRow) (*Order, error) {
	o := new(Order)
	err := row.Scan(&o.StoreID, &o.Store, &o.ID, &o.Number, &o.Status, &o.Version, &o.Fulfilment, &o.PickupAt, &o.SlotStartsAt,
		&o.ReadyEstimate, &o.Snapshot, &o.Contact, &o.Payment.Method, &o.Payment.Status, &o.Payment.Attempt, &o.Payment.Captured,
		&o.Payment.Refunded, &o.Payment.Failure, &o.Holder, &o.Seen, &o.UpdatedAt, &o.Steps, &o.Refunds)
	if err != nil {
		return nil, err
	}
	o.inUTC()
	if len(o.Steps) != o.Version {
		return nil, fmt.Errorf("order %s has %d history rows at version %d", o.ID, len(o.Steps), o.Version)
	}
	o.PlacedAt = o.Steps[0].At
	return o, nil
}

func (o *Order) inUTC() {
	for _, at := range []*time.Time{o.PickupAt, o.SlotStartsAt, o.ReadyEstimate, &o.UpdatedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	for i := range o.Steps {
		o.Steps[i].At = o.Steps[i].At.UTC()
	}
	for i := range o.Refunds {
		o.Refunds[i].At, o.Refunds[i].UpdatedAt = o.Refunds[i].At.UTC(), o.Refunds[i].UpdatedAt.UTC()
	}
}

// OrderByID is the order, or ErrNotFound.
func OrderByID(ctx context.Context, q Querier, ref OrderRef) (*Order, error) {
	orders, err := OrdersByID(ctx, q, []OrderRef{ref})
	if err != nil {
		return nil, err
	}
	if len(orders) == 0 {
		return nil, ErrNotFound
	}
	return orders[0], nil
}

// OrdersByID are those of the named orders that exist, in key order.
func OrdersByID(ctx context.Context, q Querier, refs []OrderRef) ([]*Order, error) {
	stores, ids := columnsOf(refs)
	rows, err := q.Query(ctx, ordersByID, stores, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOrder)
}

const ordersByID = `
    select` + orderColumns + `
    from unnest($1::int4[], $2::uuid[]) as want (store_id, id)
    join orders o on o.store_id = want.store_id and o.id = want.id
    order by o.store_id, o.id`

func columnsOf(refs []OrderRef) ([]int32, []uuid.UUID) {
	stores, ids := make([]int32, len(refs)), make([]uuid.UUID, len(refs))
	for i, ref := range refs {
		stores[i], ids[i] = ref.StoreID, ref.ID
	}
	return stores, ids
}

// BoardOrders are the orders on a store's board, oldest first. More than boardMax are an error: a board that
// shows less than there is would be worse.
func BoardOrders(ctx context.Context, q Querier, storeID int32) ([]*Order, error) {
	rows, err := q.Query(ctx, `
    select`+orderColumns+`
    from orders o
    where o.store_id = $1 and o.open and o.status in ('placed', 'in_progress', 'ready')
    order by o.id
    limit $2`, storeID, boardMax+1)
	if err != nil {
		return nil, err
	}
	orders, err := pgx.CollectRows(rows, scanOrder)
	if len(orders) > boardMax {
		return nil, fmt.Errorf("the board of store %d has more than %d orders", storeID, boardMax)
	}
	return orders, err
}

// boardMax bounds a board, far above what a shop can work on: 30 MB of JSON.
const boardMax = 20_000
