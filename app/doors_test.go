package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// placingText is a placing as it goes over the wire, under a key of its own.
func placingText(t *testing.T, more ...string) string {
	t.Helper()
	body, err := json.Marshal(atCounter())
	if err != nil {
		t.Fatal(err)
	}
	head := append([]string{
		"POST /v1/stores/" + testStore + "/orders HTTP/1.1", "Host: shop", "Content-Type: application/json",
		"Idempotency-Key: " + uuid.NewString(), fmt.Sprintf("Content-Length: %d", len(body)),
	}, more...)
	return strings.Join(head, "\r\n") + "\r\n\r\n" + string(body)
}

// TestNoRoom is about connections new and old while there is no room for another order: placings are refused, whatever
// they look like, everything else is served, and the connection is as good as before.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	send := s.connected(t)
	wants := func(status int, request string) {
		t.Helper()
		response := send(request)
		if response.StatusCode != status {
			body, _ := io.ReadAll(response.Body)
			t.Fatalf("%d, want %d: %s", response.StatusCode, status, body)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ Code string }
		if status == http.StatusServiceUnavailable {
			if err := json.Unmarshal(body, &p); err != nil || p.Code != "overloaded" || response.Header.Get("Retry-After") != "1" ||
				response.Header.Get("Content-Type") != problemType {
				t.Fatalf("%v %v %s", err, response.Header, body)
			}
		}
	}
	menu := "GET /v1/stores/" + testStore + "/menu HTTP/1.1\r\nHost: shop\r\n\r\n"
	s.api.placings.Store(placingsAtOnce)
	wants(503, placingText(t)) // by the door of a new connection
	wants(503, placingText(t))
	wants(200, menu)
	wants(503, placingText(t)) // by the door of one that the server has
	wants(503, placingText(t, "Connection: keep-alive"))
	wants(503, placingText(t, "X-Large: "+strings.Repeat("x", firstLook))) // by the server
	wants(200, menu)
	s.place(t, atCounter()).wantsProblem(t, 503, "overloaded") // as openapi.yaml has it
	s.call(t, "GET", "/metrics", "", nil).wants(t, 200)
	s.api.placings.Store(0)
	wants(201, placingText(t))
	if n := s.orderCount(t); n != 1 {
		t.Fatalf("%d orders", n)
	}
	metrics := string(s.call(t, "GET", "/metrics", "", nil).wants(t, 200).body)
	if line := `frenchpress_requests_total{method="POST",route="/v1/stores/:store/orders",status="503"} 6`; !strings.Contains(metrics, line) {
		t.Errorf("no line %s in %s", line, metrics)
	}
}

// TestSeveralAtTheDoor sends placings in one piece and in pieces: what the door cannot tell is one placing goes to the
// server, which refuses it too.
func TestSeveralAtTheDoor(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.api.placings.Store(placingsAtOnce)
	for name, pieces := range map[string][]string{
		"two at once": {placingText(t) + placingText(t)},
		"halves":      {placingText(t)[:200], placingText(t)[200:]},
		"bytes first": {"P", "OS", placingText(t)[3:]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := s.dial(t, 10*time.Second)
			for _, piece := range pieces {
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // so that they arrive apart
			}
			said := make([]byte, 4096)
			n, err := io.ReadAtLeast(conn, said, len("HTTP/1.1 503"))
			if err != nil || !strings.HasPrefix(string(said[:n]), "HTTP/1.1 503") {
				t.Fatalf("%v: %s", err, said[:n])
			}
		})
	}
}

func TestWholePlacing(t *testing.T) {
	t.Parallel()
	const head = "POST /v1/stores/a/orders HTTP/1.1\r\nHost: x\r\n"
	for request, want := range map[string]bool{
		head + "Content-Length: 2\r\n\r\n{}":                                         true,
		head + "content-length:2\r\nconnection: Keep-Alive\r\n\r\n{}":                true,
		head + "Content-Length: 2\r\n\r\n{":                                          false,
		head + "Content-Length: 2\r\n\r\n{}P":                                        false,
		head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}":                    false,
		head + "Content-Length: -2\r\n\r\n{}":                                        false,
		head + "\r\n":                                                                false,
		head + "Content-Length: 2\r\nConnection: close\r\n\r\n{}":                    false,
		head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}":           false,
		"POST /v1/stores/a/orders HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}":           false,
		"POST /v1/stores/a/b/orders HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}":         false,
		"POST /v1/stores/a/orders/x/payment HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}": false,
		"POST /v1/stores/a?/orders HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}":          false,
		"GET /v1/stores/a/orders HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}":            false,
		"POST /v1/stores/a/commands HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}":         false,
		"": false, "P": false, "\r\n\r\n": false,
	} {
		if wholePlacing([]byte(request)) != want {
			t.Errorf("%q: %v", request, !want)
		}
	}
}
