package main

import (
	"crypto/sha256"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	maxWait    = 10 * time.Second
	maxOptions = 1000 // of one line; what a menu can have at most
)

// postOrder places an order and answers, or repeats what its key was answered before.
func (a *API) postOrder(c echo.Context) error {
	p, placed, err := a.place(c)
	switch {
	case err != nil:
		return err
	case placed.Replay != nil:
		return a.answerPlaced(c, p.Store, p.Key, placed.Replay, true)
	case p.Wait > 0:
		return a.answerPlaced(c, p.Store, p.Key, unanswered(placed.Order.ID, p.Wait), false)
	}
	status, answer := a.renderPlaced(placed.Order)
	return answerOrder(c, p.Store, placed.Order.ID, status, answer, false)
}

// place takes an order in: key, body, replay, business rules, write.
func (a *API) place(c echo.Context) (*db.Placing, db.Placed, error) {
	var none db.Placed
	if a.full() {
		return nil, none, a.noRoom()
	}
	store, err := a.storeOf(c)
	if err != nil {
		return nil, none, err
	}
	key, err := idempotencyKey(c)
	if err != nil {
		return nil, none, err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return nil, none, err
	}
	if !a.room.enter() { // only now: who is slow to send an order must not keep others out
		return nil, none, a.noRoom()
	}
	defer a.room.leave()
	fields := body.fields()
	request := readOrder(fields)
	order, refusal := a.price(c, store, request)
	if err := fields.errWith(refusal); err != nil {
		return nil, none, err
	}
	ctx, hash := c.Request().Context(), sha256.Sum256(body.raw)
	p := &db.Placing{Asked: request.pickupAt != nil, Key: key, BodyHash: hash[:], Wait: preferWait(c), Store: store}
	if refusal != nil {
		// A key that was used for another order, say, is told before what is wrong with this one.
		replay, err := a.orders.ReplayOf(ctx, store.ID, key, p.BodyHash)
		if err == nil && replay == nil {
			err = refusal
		}
		return p, db.Placed{Replay: replay}, err
	}
	p.Order = order
	placed, err := a.orders.Place(ctx, p)
	return p, placed, err
}

// answerPlaced answers under a key that is in use: as of version 1 if the first request did not wait,
// else with the one answer that all of them get.
func (a *API) answerPlaced(c echo.Context, store *db.Store, key string, replay *db.Replay, replayed bool) error {
	ctx := c.Request().Context()
	if replay.WaitUntil == nil {
		order, err := a.orders.Current(ctx, db.OrderRef{StoreID: store.ID, ID: replay.OrderID})
		if err != nil {
			return err
		}
		status, answer := a.renderPlaced(order.AsPlaced())
		return answerOrder(c, store, order.ID, status, answer, replayed)
	}
	frozen, err := a.orders.Answer(ctx, store.ID, db.PlacingRoute, key, replay, a.renderPlaced)
	if err != nil {
		return err
	}
	return answerOrder(c, store, frozen.OrderID, frozen.Status, frozen.Answer, replayed)
}

// unanswered is a key that was just used, by a request that waits for its answer so long.
func unanswered(order uuid.UUID, wait time.Duration) *db.Replay {
	r := &db.Replay{OrderID: order}
	if wait > 0 {
		until := time.Now().Add(wait)
		r.WaitUntil = &until
	}
	return r
}

// renderPlaced is the placing answer: the order and its token.
func (a *API) renderPlaced(o *db.Order) (int, []byte) {
	json := o.JSON()
	answer := make([]byte, 0, len(json)+80)
	answer = append(answer, json[:len(json)-1]...)
	answer = append(answer, `,"token":"`...)
	answer = append(answer, db.OrderToken(a.secret, o.Ref())...)
	return settledStatus(o), append(answer, `"}`...)
}

// settledStatus is 201 when the provider has nothing left to say, else 202.
func settledStatus(o *db.Order) int {
	if o.Payment.Status == db.Pending || o.Payment.Status == db.Unknown {
		return http.StatusAccepted
	}
	return http.StatusCreated
}

func answerOrder(c echo.Context, store *db.Store, id uuid.UUID, status int, answer []byte, replayed bool) error {
	header := c.Response().Header()
	header.Set(echo.HeaderLocation, "/v1/stores/"+store.Slug+"/orders/"+id.String())
	if replayed {
		header.Set("Idempotency-Replayed", "true")
	}
	return c.JSONBlob(status, answer)
}

// price applies the business rules that need no lock: hours, the menu, the total that was expected.
func (a *API) price(c echo.Context, store *db.Store, r *orderRequest) (*db.Order, error) {
	now := time.Now()
	view, err := a.catalog.View(c.Request().Context(), store, now)
	if err != nil {
		return nil, err
	}
	quote, faults := view.Price(r.quote)
	// Who writes the time without fractions of a second and means now is not late.
	if at := r.pickupAt; at != nil && (at.Before(now.Truncate(time.Second)) || at.After(now.Add(db.MaxAhead))) {
		faults.Add("/pickup_at", "must lie between now and a week from now")
	}
	if r.method == "counter" && r.quote.Fulfilment == "pickup" {
		faults.Add("/payment/method", "counter is for in_store orders only")
	}
	if len(faults) > 0 {
		return nil, faults
	}
	at := now
	if r.pickupAt != nil && r.pickupAt.After(now) {
		at = *r.pickupAt
	}
	if !store.Hours.Open(at, store.Location) {
		return nil, closed(store, at)
	}
	if r.expectedTotal != nil && *r.expectedTotal != quote.Total {
		return nil, &db.Error{
			Code: db.CodePriceChanged, Detail: "the total is no longer the one that was expected",
			Extra: map[string]any{"quote": quote},
		}
	}
	return db.NewOrder(store, r.quote.Fulfilment, db.Customer{Name: r.name}, quote, r.method, r.token, r.contact, r.pickupAt), nil
}

func closed(store *db.Store, at time.Time) error {
	detail := "the store is closed then"
	if next, ok := store.Hours.NextOpen(at, store.Location); ok {
		detail += "; it opens " + next.In(store.Location).Format(time.RFC3339)
	}
	return &db.Error{Code: db.CodeStoreClosed, Detail: detail}
}

// orderRequest is an order as it was asked for, not priced.
type orderRequest struct {
	quote         db.QuoteRequest
	name          string
	contact       *db.Contact
	pickupAt      *time.Time
	method, token string
	expectedTotal *int64
}

var (
	phonePattern = regexp.MustCompile(`^\+?\(?([0-9][ ().-]{0,3}){5,20}$`)
	pushPattern  = regexp.MustCompile(`^[!-~]+$`)
)

// maxAddress is the longest address of a contact, and fits into the index of preferences.
const maxAddress = 2048

func readOrder(f *fields) *orderRequest {
	r := &orderRequest{quote: readQuote(f), pickupAt: f.optionalTime("pickup_at")}
	customer := f.child("customer")
	r.name = customer.text("name", 1, 80)
	contact := db.Contact{
		Email: matching(customer, "email", db.IsEmail, "must be an e-mail address"),
		Phone: matching(customer, "phone", phonePattern.MatchString, "must be a phone number"),
		Push:  matching(customer, "push", pushPattern.MatchString, "must be at most 2,048 visible ASCII characters"),
	}
	if contact != (db.Contact{}) {
		r.contact = &contact
	}
	r.method, r.token = readPayment(f.child("payment"), "card", "counter")
	r.expectedTotal = f.optionalInt64("expected_total", 0, db.MaxTotal)
	return r
}

func readPayment(f *fields, methods ...string) (method, token string) {
	switch method = f.oneOf("method", methods...); method {
	case "card":
		token = f.text("token", 1, 255)
	case "":
		f.skip() // what else belongs to it depends on the method
	}
	return method, token
}

// matching is an optional string of a certain form.
func matching(f *fields, name string, matches func(string) bool, fault string) string {
	text := f.optionalText(name, 1, maxAddress)
	if text != "" && !matches(text) {
		f.fault(name, fault)
	}
	return text
}

var waitPattern = regexp.MustCompile(`^\s*wait\s*=\s*(?:([0-9]+)|"([0-9]+)")\s*(;.*)?$`)

// preferWait is how long the client would wait for the provider; what cannot be understood is no wish.
func preferWait(c echo.Context) time.Duration {
	for _, header := range c.Request().Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			if m := waitPattern.FindStringSubmatch(strings.ToLower(preference)); m != nil {
				if seconds, err := strconv.Atoi(m[1] + m[2]); err == nil && seconds < int(maxWait/time.Second) {
					return time.Duration(seconds) * time.Second
				}
				return maxWait
			}
		}
	}
	return 0
}

// idempotencyKey is the key that a request must come with.
func idempotencyKey(c echo.Context) (string, error) {
	values := c.Request().Header.Values("Idempotency-Key")
	if len(values) == 0 || values[0] == "" {
		return "", problem("idempotency_key_missing", "send an Idempotency-Key of your own making, so that a repeat is not a second order")
	}
	key := values[0]
	if len(values) > 1 || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", problem("idempotency_key_invalid", "an Idempotency-Key is 1 to 255 visible ASCII characters, once")
	}
	return key, nil
}
