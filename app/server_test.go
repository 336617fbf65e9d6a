package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	if got := s.call(t, "GET", "/healthz", "", nil).wants(t, 200); string(got.body) != `{"status":"ok"}` {
		t.Errorf("healthz says %s", got.body)
	}
	if got := s.call(t, "GET", "/readyz", "", nil).wants(t, 200); string(got.body) != `{"status":"ready"}` {
		t.Errorf("readyz says %s", got.body)
	}
	if got := s.call(t, "GET", "/openapi.yaml", "", nil).wants(t, 200); !bytes.HasPrefix(got.body, []byte("openapi: 3.1.")) {
		t.Errorf("the contract begins with %.40s", got.body)
	}
	s.api.setState("the server is stopping")
	stopping := s.call(t, "GET", "/readyz", "", nil)
	if stopping.wantsProblem(t, 503, "not_ready"); !strings.Contains(string(stopping.body), "is stopping") {
		t.Errorf("readyz does not say why: %s", stopping.body)
	}
}

func TestReadyAsksTheDatabase(t *testing.T) {
	t.Parallel()
	pool, err := db.Open(t.Context(), dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	a := &API{pool: pool}
	p := toProblem(a.readyz(bodyContext("", "")))
	if p.Code != "not_ready" || p.Detail != "the database cannot be reached" {
		t.Errorf("got %v", p)
	}
}

func TestRoutesThatAreNot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, path := range []string{"/v1", "/v1/", "/v1/nowhere", "/v1/stores/" + testStore + "/nowhere", "/v2/stores", "/%2e%2e/etc/passwd", "/v1/stores/%00", "/v1/stores/%ff/menu", "//"} {
		s.call(t, "GET", path, "", nil).wantsProblem(t, 404, "not_found")
	}
	got := s.call(t, "DELETE", "/v1/stores", "", nil)
	got.wantsProblem(t, 405, "method_not_allowed")
	if allow := got.Header.Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "HEAD") {
		t.Errorf("Allow is %q", allow)
	}
	s.call(t, "BREW", "/v1/stores", "", nil).wantsProblem(t, 405, "method_not_allowed")
	s.client = http.DefaultClient // OPTIONS is no part of the contract
	if got := s.call(t, "OPTIONS", "/v1/stores", "", nil).wants(t, 204); !strings.Contains(got.Header.Get("Allow"), "GET") {
		t.Errorf("OPTIONS: %v", got.Header)
	}
	page := s.call(t, "GET", "/nowhere/at/all", "", nil, "Accept: text/html")
	if page.wants(t, 404); mediaType(page.Header) != "text/html" || page.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("a browser gets %v", page.Header)
	}
	if api := s.call(t, "GET", "/v1/nowhere", "", nil, "Accept: text/html"); mediaType(api.Header) != problemJSON {
		t.Errorf("the API answers a browser with %v", api.Header)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, path := range []string{"/", "/healthz", "/v1/stores", "/v1/stores/" + testStore + "/menu"} {
		if got := s.call(t, "HEAD", path, "", nil).wants(t, 200); len(got.body) != 0 || got.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %d bytes, %v", path, len(got.body), got.Header)
		}
	}
	if got := s.call(t, "HEAD", "/v1/nowhere", "", nil).wants(t, 404); len(got.body) != 0 {
		t.Errorf("an error with a body of %d bytes", len(got.body))
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, atCounter()).order(t)
	for path, want := range map[string]map[string]string{
		"/":                {"Content-Security-Policy": contentPolicy, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"},
		"/staff/sign-in":   {"Content-Security-Policy": contentPolicy, "Cross-Origin-Opener-Policy": "same-origin"},
		o.path():           {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"},
		"/v1/stores":       {"Referrer-Policy": "no-referrer"},
		"/v1/nowhere":      {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
		"/static/nothing":  {"X-Content-Type-Options": "nosniff"},
		"/static/money.js": {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"},
	} {
		got := s.call(t, "GET", path, o.Token, nil)
		for name, value := range want {
			if got.Header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got.Header.Get(name), value)
			}
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for given, kept := range map[string]bool{
		"a-B_9.:": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "two words": false, `quo"te`: false, "é": false,
	} {
		got := s.call(t, "GET", "/healthz", "", nil, "X-Request-Id: "+given).Header.Get("X-Request-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.call(t, "GET", "/v1/stores/"+testStore, "", nil).wants(t, 200)
	for range 3 {
		s.call(t, "GET", "/v1/"+uuid.NewString(), "", nil).wants(t, 404)
	}
	s.call(t, "BREW", "/v1/stores", "", nil).wants(t, 405)
	said := string(s.call(t, "GET", "/metrics", "", nil).wants(t, 200).body)
	for _, want := range []string{
		`frenchpress_requests_total{method="GET",route="/v1/stores/:store",status="200"} 1`,
		`frenchpress_requests_total{method="GET",route="none",status="404"} 3`,
		`frenchpress_requests_total{method="other",route="none",status="405"} 1`,
		`frenchpress_request_seconds_count{route="/v1/stores/:store"} 1`,
		"frenchpress_live_streams 0", `frenchpress_pool_connections{pool="orders",state="idle"}`, `frenchpress_pool_connections_max{pool="jobs"}`, "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("without %s", want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := openShop(t, "RATE_LIMIT=5", "TRUSTED_PROXIES=127.0.0.1/32")
	limited := func(from string) (at int) {
		for i := range 20 {
			got := s.call(t, "GET", "/v1/stores", "", nil, "X-Forwarded-For: "+from)
			if got.StatusCode == 429 {
				got.wantsProblem(t, 429, "rate_limited")
				return i
			}
		}
		return -1
	}
	if at := limited("198.51.100.1"); at < 5 || at > 10 {
		t.Errorf("limited at request %d", at)
	}
	if at := limited("198.51.100.2, 203.0.113.9, 198.51.100.1"); at != 0 {
		t.Errorf("what the client says of itself counts: %d", at)
	}
	if at := limited("2001:db8::1"); at < 5 {
		t.Errorf("another address is limited at %d", at)
	}
	if at := limited("2001:db8::2"); at != 0 {
		t.Errorf("an address of the same network gets as much again: %d", at)
	}
	for range 20 {
		s.call(t, "GET", "/healthz", "", nil).wants(t, 200)
	}
	time.Sleep(2 * time.Second)
	s.call(t, "GET", "/v1/stores", "", nil, "X-Forwarded-For: 198.51.100.1").wants(t, 200)
}

// logged is a log to look into.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// openLoggedShop is a shop, with a sandbox of its own, whose whole log can be read. Close it before reading.
func openLoggedShop(t *testing.T, url string) (*shop, *logged) {
	t.Helper()
	log := new(logged)
	config, err := readConfig([]string{"DATABASE_URL=" + url, "DATA_DIR=" + t.TempDir(), "HOST=127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	config.Port = 0
	server, err := Run(t.Context(), config, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{Server: server, databaseURL: url, client: contractClient(t, false)}
	t.Cleanup(func() { s.closeSoon(t) })
	return s, log
}

// TestUnavailableIsToldOfOnce asks again and again while there is no database: not every refusal has a line.
func TestUnavailableIsToldOfOnce(t *testing.T) {
	t.Parallel()
	s, log := openLoggedShop(t, dbtest.URL(t))
	staff := s.staff(t, "mia", db.Support)
	restore := s.cutOff(t)
	defer restore()
	began := time.Now()
	for range 100 {
		s.call(t, "GET", "/v1/stores/"+testStore+"/orders", staff, nil).wants(t, 503)
	}
	most := 2 + int(time.Since(began)/time.Second)
	lines := strings.Count(log.String(), `"level":"WARN","msg":"request"`)
	if lines < 1 || lines > most {
		t.Errorf("%d lines of 100 refusals, want at most %d: %s", lines, most, log)
	}
}

func TestLogHasNoTokens(t *testing.T) {
	t.Parallel()
	s, log := openLoggedShop(t, dbtest.URL(t))
	o, device, staff := s.place(t, atCounter()).order(t), s.device(t, testStore), s.staff(t, "mia", "admin")
	live := "/v1/stores/" + testStore + "/board/live?token="
	s.ask(t, visitor{}, "GET", live+device)
	s.ask(t, visitor{}, "GET", live+o.Token)
	s.ask(t, visitor{}, "GET", o.path()+"/live?token="+o.Token)
	s.ask(t, visitor{}, "GET", "/v1/nowhere?token="+staff)
	for _, token := range []string{o.Token, device, staff} {
		s.call(t, "GET", o.path(), token, nil, "X-Request-Id: find-me").wants(t, 200)
		s.call(t, "GET", "/v1/stores/"+testStore+"/board", token[:len(token)-2], nil)
	}
	s.client.CloseIdleConnections()
	s.closeSoon(t)
	said := log.String()
	for name, token := range map[string]string{"order": o.Token, "device": device, "staff": staff} {
		if strings.Contains(said, token[4:20]) {
			t.Errorf("the token of %s is in the log", name)
		}
	}
	for _, want := range []string{`"request_id":"find-me"`, `"order":"` + o.ID, `"store":"` + testStore, `"who":"device"`, `"who":"customer"`, `"who":"staff"`, `"route":"/v1/stores/:store/orders/:id"`, `"status":200`, `"ms":`} {
		if !strings.Contains(said, want) {
			t.Errorf("the log has no %s", want)
		}
	}
}

func TestFaultsOfOursAreLoggedOnce(t *testing.T) {
	t.Parallel()
	s, log := openLoggedShop(t, dbtest.URL(t))
	e := s.api.newEcho()
	e.GET("/v1/boom", s.api.admit(Route{Handler: func(echo.Context) error { panic("the milk is out") }}))
	e.GET("/v1/fail", s.api.admit(Route{Handler: func(echo.Context) error { return errors.New("the beans are out") }}))
	s.http.Handler = e
	for path, words := range map[string]string{"/v1/boom": "the milk is out", "/v1/fail": "the beans are out"} {
		got := s.call(t, "GET", path, "", nil, "X-Request-Id: find"+path[3:4]+path[4:])
		got.wantsProblem(t, 500, "internal")
		if strings.Contains(string(got.body), words) {
			t.Errorf("users are told: %s", got.body)
		}
		time.Sleep(20 * time.Millisecond) // the line is written after the answer
		if n := strings.Count(log.String(), words); n != 1 {
			t.Errorf("%q is logged %d times: %s", words, n, log)
		}
	}
	for line := range strings.Lines(log.String()) {
		var entry struct {
			Level, Error string
			RequestID    string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(entry.Error, "is out") || strings.Contains(entry.Error, "are out") {
			if entry.Level != "ERROR" || entry.RequestID == "" {
				t.Errorf("logged as %s", line)
			}
		}
	}
}

func TestCloseEndsStreams(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/stores/"+testStore+"/board/live?token="+s.device(t, testStore), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		closed <- s.Close(ctx)
	}()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://")); err == nil {
		_ = conn.Close()
		t.Error("somebody still listens")
	}
}

func TestRunRefusesInOneSentence(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for want, settings := range map[string][]string{
		"address already in use": {"DATABASE_URL=" + dbtest.URL(t), "DATA_DIR=" + t.TempDir(), "HOST=127.0.0.1", "PORT=" + port},
		"cannot be reached":      {"DATABASE_URL=postgres://u:s3cret@127.0.0.1:1/x", "DATA_DIR=" + t.TempDir()},
	} {
		config, err := readConfig(settings)
		if err != nil {
			t.Fatal(err)
		}
		server, err := Run(t.Context(), config, slog.New(slog.DiscardHandler))
		if server != nil || err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
