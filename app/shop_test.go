package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
	"frenchpress/jobs"
)

func TestMain(m *testing.M) {
	dbtest.Main(m, func(ctx context.Context, pool *pgxpool.Pool) error {
		if err := db.Migrate(ctx, pool, jobs.Migrate); err != nil {
			return err
		}
		return db.SeedDemo(ctx, pool)
	})
}

const (
	testStore     = "ferry-building"
	testOrderList = "orders of " + testStore
)

// shop is a whole shop, listening on a port of its own, as its users see it.
type shop struct {
	*Server
	databaseURL string
	client      *http.Client // checks every exchange against openapi.yaml

	bankOnce sync.Once
	opened   bank
}

// openShop boots a shop on a database of its own; settings are like "EXPIRE_AFTER=2s".
func openShop(t testing.TB, settings ...string) *shop {
	t.Helper()
	return openShopOn(t, dbtest.URL(t), settings...)
}

// closeSoon ends the server, or fails.
func (s *shop) closeSoon(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// openShopOn boots a shop, or another process of one, on a database.
func openShopOn(t testing.TB, databaseURL string, settings ...string) *shop {
	t.Helper()
	config, err := readConfig(append([]string{"DATABASE_URL=" + databaseURL, "DATA_DIR=" + dataDir(t, databaseURL), "HOST=127.0.0.1"}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	config.Port = 0
	level := slog.LevelWarn + 2 // what is only worth a warning is often what a test wants
	if os.Getenv("TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	server, err := Run(t.Context(), config, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{Server: server, databaseURL: databaseURL, client: contractClient(t, false)}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.closeSoon(t)
	})
	return s
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body []byte
}

// call sends a request; body may be nil, a string sent as it is, or anything that JSON can hold. Headers are
// like "Idempotency-Key: x"; the credential may be empty.
func (s *shop) call(t testing.TB, method, path, credential string, body any, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp, data}
}

// wants fails the test unless the answer has this status.
func (a answer) wants(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	return a
}

// wantsProblem fails the test unless the answer is this problem; pointers are those that its errors name,
// in any order.
func (a answer) wantsProblem(t testing.TB, status int, code string, pointers ...string) {
	t.Helper()
	a.wants(t, status)
	var p struct {
		Code   string
		Errors []db.Fault
	}
	a.into(t, &p)
	if p.Code != code {
		t.Fatalf("the code is %q, want %q: %s", p.Code, code, a.body)
	}
	named := map[string]bool{}
	for _, fault := range p.Errors {
		named[fault.Pointer] = true
	}
	for _, pointer := range pointers {
		if !named[pointer] {
			t.Errorf("no fault at %q: %s", pointer, a.body)
		}
	}
	if pointers != nil && len(named) != len(pointers) {
		t.Errorf("faults at %d places, want %v: %s", len(named), pointers, a.body)
	}
}

func (a answer) into(t testing.TB, target any) {
	t.Helper()
	if err := json.Unmarshal(a.body, target); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// order is an order as clients see it.
type order struct {
	ID        string  `json:"id"`
	Store     string  `json:"store"`
	Number    int     `json:"number"`
	Status    string  `json:"status"`
	Version   int     `json:"version"`
	PickupAt  *string `json:"pickup_at"`
	Subtotal  int64   `json:"subtotal"`
	Tax       int64   `json:"tax"`
	Tip       int64   `json:"tip"`
	Total     int64   `json:"total"`
	Token     string  `json:"token"`
	UpdatedAt string  `json:"updated_at"`
	Payment   struct {
		Method, Status, Failure string
		Captured, Refunded      int64
	} `json:"payment"`
	History    []struct{ Status, At, By string } `json:"history"`
	Fulfilment string                            `json:"fulfilment"`
}

func (a answer) order(t testing.TB) order {
	t.Helper()
	var o order
	a.into(t, &o)
	return o
}

func (o order) path() string { return "/v1/stores/" + o.Store + "/orders/" + o.ID }

// object is JSON in the making.
type object map[string]any

// latte is the body of an order of one small latte; changes replace members.
func latte(changes object) object {
	body := object{
		"fulfilment": "pickup", "customer": object{"name": "Ada"},
		"lines":   []object{{"item": "latte", "size": "small", "quantity": 1}},
		"payment": object{"method": "card", "token": "tok_visa"},
	}
	for name, value := range changes {
		body[name] = value
	}
	return body
}

// atCounter is latte paid at the till.
func atCounter() object {
	return latte(object{"fulfilment": "in_store", "payment": object{"method": "counter"}})
}

// place places an order under a key of its own.
func (s *shop) place(t testing.TB, body object, headers ...string) answer {
	t.Helper()
	return s.call(t, "POST", "/v1/stores/"+testStore+"/orders", "", body, append(headers, "Idempotency-Key: "+uuid.NewString())...)
}

// placed places an order and waits until it is paid.
func (s *shop) placed(t testing.TB, body object) order {
	t.Helper()
	o := s.place(t, body, "Prefer: wait=10").wants(t, http.StatusCreated).order(t)
	if o.Status != "placed" {
		t.Fatalf("the order is %s", o.Status)
	}
	return o
}

// get reads an order with its own token.
func (s *shop) get(t testing.TB, o order) order {
	t.Helper()
	return s.call(t, "GET", o.path(), o.Token, nil).wants(t, http.StatusOK).order(t)
}

// eventually reads an order until it is as wanted, at most limit.
func (s *shop) eventually(t testing.TB, o order, limit time.Duration, wanted func(order) bool) order {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		now := s.get(t, o)
		if wanted(now) {
			return now
		}
		if time.Now().After(end) {
			t.Fatalf("after %v the order is %s, its payment %s", limit, now.Status, now.Payment.Status)
		}
	}
}

// device pairs a device with a store and returns its token.
func (s *shop) device(t testing.TB, slug string) string {
	t.Helper()
	store, ok := s.api.catalog.Store(slug)
	if !ok {
		t.Fatalf("there is no store %s", slug)
	}
	token, err := db.PairDevice(t.Context(), s.api.pool, store.ID)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// staff adds a member of staff and returns their token.
func (s *shop) staff(t testing.TB, name, role string) string {
	t.Helper()
	token, _, err := db.AddStaff(t.Context(), s.api.pool, name, role)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// result is what became of a command.
type result struct {
	ID, Result, Reason, Holder string
	Order                      *order
}

// command is one command of a board; changes add or replace members.
func command(kind string, changes object) object {
	c := object{"id": uuid.NewString(), "device_seq": 1, "type": kind, "occurred_at": time.Now().UTC().Format(time.RFC3339Nano)}
	for name, value := range changes {
		c[name] = value
	}
	return c
}

// command sends commands to the test store and returns their results.
func (s *shop) commands(t testing.TB, credential string, commands ...object) []result {
	t.Helper()
	var body struct{ Results []result }
	s.call(t, "POST", "/v1/stores/"+testStore+"/commands", credential, object{"commands": commands}).wants(t, http.StatusOK).into(t, &body)
	if len(body.Results) != len(commands) {
		t.Fatalf("%d results for %d commands", len(body.Results), len(commands))
	}
	return body.Results
}

// do sends one command about an order and wants its result.
func (s *shop) do(t testing.TB, credential, kind string, o order, want string, changes ...object) result {
	t.Helper()
	c := command(kind, object{"order": o.ID})
	for _, change := range changes {
		for name, value := range change {
			c[name] = value
		}
	}
	r := s.commands(t, credential, c)[0]
	if r.Result != want {
		t.Fatalf("%s: %s (%s), want %s", kind, r.Result, r.Reason, want)
	}
	return r
}

func (r result) String() string { return fmt.Sprintf("%s %s", r.Result, r.Reason) }
