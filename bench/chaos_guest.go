package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
)

const (
	// insistFor is how long a client sends the same request again; the longest fault is 30 s.
	insistFor   = 90 * time.Second
	insistPause = 100 * time.Millisecond
	// stateFor is how long a guest waits for a change on the stream before going home.
	stateFor = 60 * time.Second
)

// Shares of the guests, in percent.
const (
	cancelsAtOnce = 6
	cancelsLater  = 10
	leavesUnpaid  = 25 // of those whose card was declined
	faultyCards   = 30
)

var faulty = []string{"tok_declined", "tok_slow", "tok_timeout", "tok_flaky", "tok_3ds"}

// guest is a customer, and the barista who makes his order.
type guest struct {
	c      *chaos
	random *rand.Rand
	store  *Store
	id     string
	token  string
	watch  *watch
}

// errHome says that a guest has given up: the shop is closed, or did not answer in all that time.
var errHome = errors.New("the guest went home")

// visit is one guest's whole stay. Whatever the shop may do while something is broken is no fault; what it must never
// do is.
func (c *chaos) visit(ctx context.Context, random *rand.Rand) error {
	g := &guest{c: c, random: random, store: c.stores[random.IntN(len(c.stores))]}
	if err := g.place(ctx); err != nil {
		return err
	}
	c.orders.Add(1)
	g.watch = c.open(g)
	if g.chance(cancelsAtOnce) {
		return g.cancel(ctx)
	}
	status, err := g.await(ctx, "placed", "payment_failed")
	if status == "payment_failed" && !g.chance(leavesUnpaid) {
		if err := g.payAgain(ctx); err != nil {
			return err
		}
		status, err = g.await(ctx, "placed")
	}
	switch {
	case err != nil || status != "placed":
		return err
	case g.chance(cancelsLater):
		return g.cancel(ctx)
	}
	for _, step := range []string{"start", "ready", "collect"} {
		if err := g.c.tap(ctx, g.store, step, g.id); err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) chance(percent int) bool { return g.random.IntN(100) < percent }

// card is mostly good.
func (g *guest) card() string {
	if g.chance(faultyCards) {
		return faulty[g.random.IntN(len(faulty))]
	}
	return "tok_visa"
}

// place places an order, again and again under one key until it is acknowledged.
func (g *guest) place(ctx context.Context) error {
	lines, key := wants[g.random.IntN(len(wants))], newKey()
	body := fmt.Appendf(nil, `{"fulfilment":"pickup","customer":{"name":"%s %s","email":"%s@example.com"},"lines":%s,"tip":%d,"payment":{"method":"card","token":%q}}`,
		customers[g.random.IntN(len(customers))], g.c.mark, key, lines, g.random.IntN(3)*50, g.card())
	return g.c.insist(ctx, func(conn *Conn) {
		conn.Request("POST", "/v1/stores/", g.store.Slug, "/orders")
		conn.Header("Idempotency-Key", key)
		conn.Body(body)
	}, func(conn *Conn) error {
		if conn.Status() != http.StatusCreated && conn.Status() != http.StatusAccepted {
			return conn.refused("placing")
		}
		o, err := readOrder(conn.Answer())
		if err != nil {
			return err
		}
		g.id, g.token = strings.Clone(o.ID), strings.Clone(o.Token)
		return g.c.acks.keep("place", g.store, &o)
	})
}

func (g *guest) cancel(ctx context.Context) error {
	return g.change(ctx, "cancel", "/cancel", `{}`)
}

func (g *guest) payAgain(ctx context.Context) error {
	return g.change(ctx, "pay again", "/payment", `{"payment":{"method":"card","token":"tok_visa"}}`)
}

// change asks for a change of one's own order. A refusal by the rules is an answer too: the order may have expired or
// be made already.
func (g *guest) change(ctx context.Context, doing, path, body string) error {
	key := newKey()
	return g.c.insist(ctx, func(conn *Conn) {
		conn.Request("POST", "/v1/stores/", g.store.Slug, "/orders/", g.id, path)
		conn.Header("Authorization", "Bearer ", g.token)
		conn.Header("Idempotency-Key", key)
		conn.Body([]byte(body))
	}, func(conn *Conn) error {
		switch conn.Status() {
		case http.StatusConflict:
			return nil
		case http.StatusOK, http.StatusAccepted, http.StatusCreated:
		default:
			return conn.refused(doing)
		}
		o, err := readOrder(conn.Answer())
		if err != nil {
			return err
		}
		return g.c.acks.keep(doing, g.store, &o)
	})
}

// await waits until the order's stream shows one of these, or an end.
func (g *guest) await(ctx context.Context, wanted ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stateFor)
	defer cancel()
	status, ok := g.watch.await(ctx, wanted)
	if !ok {
		return "", errHome
	}
	return status, nil
}

// tap sends a command from the store's board, under one id until it is answered. Whoever was quicker is no fault.
func (c *chaos) tap(ctx context.Context, store *Store, kind, order string) error {
	command := fmt.Appendf(nil, `{"commands":[{"id":%q,"type":%q,"order":%q,"occurred_at":%q,"device_seq":%d}]}`,
		uuid.NewString(), kind, order, time.Now().UTC().Format(time.RFC3339Nano), store.taps.Add(1))
	return c.insist(ctx, func(conn *Conn) {
		conn.Request("POST", "/v1/stores/", store.Slug, "/commands")
		conn.Header("Authorization", "Bearer ", store.Token)
		conn.Body(command)
	}, func(conn *Conn) error {
		if conn.Status() != http.StatusOK {
			return conn.refused(kind)
		}
		result := gjson.Get(text(conn.Answer()), "results.0")
		switch result.Get("result").Str {
		case "applied", "noop", "superseded", "conflict":
		default:
			return faultf("command", "%s of %s: %s", kind, order, result.Raw)
		}
		o, err := readOrder(bytesOf(result.Get("order").Raw))
		if err != nil {
			return err
		}
		return c.acks.keep(kind, store, &o)
	})
}

// insist sends a request to any process until somebody answers who can. 429 and 503 mean later, and so does a
// connection that breaks; every other 5xx is counted, and asked again.
func (c *chaos) insist(ctx context.Context, build func(*Conn), read func(*Conn) error) error {
	for end := time.Now().Add(insistFor); time.Now().Before(end); {
		if ctx.Err() != nil {
			return errHome
		}
		pool := c.pool()
		conn := pool.Get()
		build(conn)
		err := conn.Do()
		if err == nil && conn.Status() < 500 && conn.Status() != http.StatusTooManyRequests {
			err = read(conn)
			pool.Put(conn)
			return err
		}
		c.meet(conn, err)
		pool.Put(conn)
		if pause(ctx, insistPause) != nil {
			return errHome
		}
	}
	c.gaveUp.Add(1)
	return errHome
}

// meet counts what stood in the way of a request.
func (c *chaos) meet(conn *Conn, err error) {
	switch {
	case err != nil:
		c.broken.Add(1)
	case conn.Status() == http.StatusServiceUnavailable || conn.Status() == http.StatusTooManyRequests:
		c.later.Add(1)
	default:
		c.internal.Add(1)
		c.faults.Add(conn.refused("a request while something was broken"))
	}
}
