package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"frenchpress/db/dbtest"
)

const (
	killsByDefault = 3 // FRENCHPRESS_KILLS asks for more
	customers      = 12
	orderEvery     = 250 * time.Millisecond // of each customer, on average
	// settledWithin is the contract's, from the last kill on.
	settledWithin = 60 * time.Second
)

// TestKilled kills the program under load, again and again, and holds its books and the provider's against what
// the customers were told. It does not test fsync: the kernel outlives the program. With more kills than by
// default customers also cancel before they are charged: where a kill comes between, the shop takes half a
// minute to be sure that nobody is about to charge them.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := dbtest.Count(t, "FRENCHPRESS_KILLS", killsByDefault)
	v := &victim{databaseURL: dbtest.URL(t), port: freePort(t)}
	t.Cleanup(v.kill)
	v.start(t)
	crowd := v.crowd(t, kills > killsByDefault)
	var killed time.Time
	for range kills {
		time.Sleep(500*time.Millisecond + rand.N(time.Second))
		v.kill()
		killed = time.Now()
		v.start(t)
	}
	time.Sleep(500 * time.Millisecond)
	purchases := crowd()
	books := openBooks(t, v.databaseURL)
	books.awaitSettled(t, killed)
	t.Logf("%d kills, %d orders acknowledged; the last payment was settled %v after the last kill", kills,
		len(purchases), time.Since(killed).Round(100*time.Millisecond))
	books.check(t, purchases)
}

// victim is the program, which gets killed and started again at one address.
type victim struct {
	databaseURL string
	port        string
	cmd         *exec.Cmd
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (v *victim) url() string { return "http://127.0.0.1:" + v.port }

// start returns when the program says that it is ready.
func (v *victim) start(t *testing.T) {
	t.Helper()
	v.cmd = newProgram(t, []string{"DATABASE_URL=" + v.databaseURL, "DATA_DIR=" + dataDir(t, v.databaseURL), "HOST=127.0.0.1", "PORT=" + v.port})
	v.cmd.Stderr = t.Output()
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if v.ready(t.Context()) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the program does not get ready")
		}
	}
}

func (v *victim) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url()+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill sends SIGKILL to the process, and to no other.
func (v *victim) kill() {
	if v.cmd == nil || v.cmd.Process == nil || v.cmd.ProcessState != nil {
		return
	}
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// purchase is what a customer knows of an order.
type purchase struct {
	order
	card      string
	cancelled bool // the shop said so
}

// crowd lets customers order until the returned function is called, which returns what they were told.
func (v *victim) crowd(t *testing.T, hasty bool) func() []purchase {
	t.Helper()
	client := contractClient(t, true)
	client.Timeout = 15 * time.Second
	stop := make(chan struct{})
	var mu sync.Mutex
	var all []purchase
	var crowd sync.WaitGroup
	for range customers {
		crowd.Go(func() {
			c := &customer{shop: v, client: client, hasty: hasty}
			for {
				select {
				case <-stop:
					return
				case <-time.After(rand.N(2 * orderEvery)):
				}
				bought, err := c.buy(t.Context())
				if err != nil {
					t.Errorf("a customer was turned away: %v", err)
					return
				}
				mu.Lock()
				all = append(all, bought)
				mu.Unlock()
			}
		})
	}
	leave := sync.OnceValue(func() []purchase {
		close(stop)
		crowd.Wait()
		return all
	})
	t.Cleanup(func() { leave() })
	return leave
}

type customer struct {
	shop   *victim
	client *http.Client
	hasty  bool // cancels also what is not yet paid
}

// cards are what customers pay with, mostly what works.
var cards = slices.Concat(slices.Repeat([]string{"tok_visa"}, 14), []string{"tok_declined", "tok_slow", "tok_timeout", "tok_timeout", "tok_flaky", "tok_flaky"})

// buy places an order, and now and then cancels it.
func (c *customer) buy(ctx context.Context) (p purchase, err error) {
	p.card = cards[rand.N(len(cards))]
	store := []string{testStore, "hayes-valley"}[rand.N(2)]
	header := http.Header{"Idempotency-Key": {uuid.NewString()}}
	cancels := rand.N(6) == 0
	if !c.hasty && cancels || rand.N(8) == 0 {
		header.Set("Prefer", "wait=3")
	}
	body := latte(object{
		"lines":   []object{{"item": "latte", "size": "small", "quantity": 1 + rand.N(5)}, {"item": "croissant", "quantity": 1 + rand.N(5)}},
		"payment": object{"method": "card", "token": p.card},
	})
	status, answer, err := c.insist(ctx, "/v1/stores/"+store+"/orders", header, body)
	if err != nil {
		return p, err
	}
	if status != http.StatusCreated && status != http.StatusAccepted {
		return p, fmt.Errorf("placing: %d %s", status, answer)
	}
	err = json.Unmarshal(answer, &p.order)
	if err != nil || !cancels || !c.hasty && p.Payment.Status != "captured" {
		return p, err
	}
	status, answer, err = c.insist(ctx, p.path()+"/cancel", http.Header{"Authorization": {"Bearer " + p.Token}}, object{})
	p.cancelled = status == http.StatusOK
	if err == nil && !p.cancelled {
		err = fmt.Errorf("cancelling: %d %s", status, answer)
	}
	return p, err
}

// insist sends the same request until it is answered by somebody who can.
func (c *customer) insist(ctx context.Context, path string, header http.Header, body object) (int, []byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	var last error
	for end := time.Now().Add(30 * time.Second); ctx.Err() == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.shop.url()+path, bytes.NewReader(data))
		if err != nil {
			return 0, nil, err
		}
		req.Header = header.Clone()
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.client.Do(req)
		if err != nil {
			last = err
			continue
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusServiceUnavailable {
			return resp.StatusCode, answer, nil
		}
		last = fmt.Errorf("%s: %s (%w)", resp.Status, answer, err)
	}
	return 0, nil, fmt.Errorf("no answer in 30 s, at last: %w", last)
}

// books are the shop's and the provider's.
type books struct {
	conn *pgx.Conn
	bank bank
}

func openBooks(t *testing.T, databaseURL string) books {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return books{conn, openBank(t, databaseURL)}
}

func (b books) awaitSettled(t *testing.T, killed time.Time) {
	t.Helper()
	for {
		var open []string
		err := b.conn.QueryRow(t.Context(), `
    select coalesce(array_agg(id || ' ' || status || ' ' || payment_status), '{}')
    from orders
    where payment_status in ('pending', 'unknown', 'refund_pending')`).Scan(&open)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			return
		}
		if time.Since(killed) > settledWithin {
			t.Fatalf("%v after the last kill these stand unfinished: %q", settledWithin, open)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// entry is what the books say of one order.
type entry struct {
	ID, Status, Payment                string
	Total, Captured, Refunded          int64
	Version, Steps, FirstStep, Highest int

	Bank account `db:"-"` // the provider's
}

// check holds the books against what the customers were told.
func (b books) check(t *testing.T, purchases []purchase) {
	t.Helper()
	rows, err := b.conn.Query(t.Context(), `
    select o.id::text, o.status, o.payment_status, o.total, o.captured, o.refunded,
           o.version, h.steps, h.first, h.highest
    from orders o, lateral (
        select count(*) as steps, min(version) as first, max(version) as highest
        from order_history h
        where h.store_id = o.store_id and h.order_id = o.id) h`)
	if err != nil {
		t.Fatal(err)
	}
	written, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil {
		t.Fatal(err)
	}
	entries, accounts := map[string]entry{}, b.bank.accounts(t)
	for _, e := range written {
		e.Bank = accounts[e.ID]
		entries[e.ID] = e
	}
	if len(purchases) == 0 || len(entries) != len(purchases) {
		t.Errorf("the shop has %d orders, the customers know of %d", len(entries), len(purchases))
	}
	outcomes := map[string]int{}
	for _, p := range purchases {
		e, known := entries[p.ID]
		if !known {
			t.Errorf("the shop has forgotten %s, %s", p.ID, p.card)
			continue
		}
		if fault := e.fault(p); fault != "" {
			t.Errorf("%s, %s, cancelled %v: %s: %+v", p.ID, p.card, p.cancelled, fault, e)
		}
		outcomes[e.Status+"/"+e.Payment]++
	}
	t.Logf("%v", outcomes)
}

func (e entry) fault(p purchase) string {
	captured := e.Payment == "captured" || e.Payment == "refunded"
	switch {
	case e.Total != p.Total:
		return fmt.Sprintf("the customer was told a total of %d", p.Total)
	case captured != (e.Bank.Charges == 1) || !captured && e.Bank.Charges != 0:
		return "the charges do not fit the payment"
	case captured && (e.Bank.Charged != e.Total || e.Captured != e.Total):
		return "another amount was charged"
	case e.Bank.GivenBack != e.Refunded || e.Payment == "refunded" && e.Refunded != e.Total:
		return "another amount was given back"
	case p.cancelled && (e.Status != "cancelled" || captured && e.Payment != "refunded"):
		return "it was cancelled"
	case !p.cancelled && p.card == "tok_declined" && (e.Status != "payment_failed" || e.Payment != "failed"):
		return "the card was declined"
	case !p.cancelled && p.card != "tok_declined" && (e.Status != "placed" || e.Payment != "captured"):
		return "it was not paid"
	case e.FirstStep != 1 || e.Steps != e.Version || e.Highest != e.Version:
		return "the history has gaps"
	}
	return ""
}
