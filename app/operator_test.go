package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"frenchpress/db/dbtest"
)

// TestOperatorsPort has profiles on an address of their own, and on no other.
func TestOperatorsPort(t *testing.T) {
	t.Parallel()
	operator := freeAddress(t)
	config, err := readConfig([]string{"DATABASE_URL=" + dbtest.URL(t), "DATA_DIR=" + t.TempDir(), "HOST=127.0.0.1", "PORT=0", "OPERATOR_ADDR=" + operator})
	if err != nil {
		t.Fatal(err)
	}
	server, err := Run(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute}
	get := func(url string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get("http://" + operator + "/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("profile: %d %s", status, body)
	}
	if status, _ := get(server.URL + "/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("the shop's own port answers %d for profiles", status)
	}
	(&shop{Server: server}).closeSoon(t)
	if status, body := get("http://" + operator + "/debug/pprof/"); status != 0 {
		t.Errorf("after the end: %d %s", status, body)
	}
}

// freeAddress is an address where nobody listens, for the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr())
}
