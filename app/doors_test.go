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
	s.api.room.taken.Store(placingsAtOnce)
	wants(503, placingText(t)) // by the door of a new connection
	wants(503, placingText(t))
	wants(200, menu)
	wants(503, placingText(t)) // by the door of one that the server has
	wants(503, placingText(t, "Connection: keep-alive"))
	wants(503, placingText(t, "X-Large: "+strings.Repeat("x", firstLook))) // by the server
	wants(200, menu)
	s.place(t, atCounter()).wantsProblem(t, 503, "overloaded") // as openapi.yaml has it
	s.call(t, "GET", "/metrics", "", nil).wants(t, 200)
	s.api.room.taken.Store(0)
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
	s.api.room.taken.Store(placingsAtOnce)
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

// TestMiddleOfAHead sends a request whose head comes in two pieces, the second of which looks like a placing. It is the
// rest of a field all the same: taken for a request it would leave the first piece to be completed by whoever is next
// on the connection, which behind a proxy is somebody else.
func TestMiddleOfAHead(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	send := s.connected(t)
	menu := "GET /v1/stores/" + testStore + "/menu HTTP/1.1\r\n"
	tail := "POST /v1/stores/" + testStore + "/orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\n{}"
	if got := send(menu + "Host: shop\r\n\r\n"); got.StatusCode != http.StatusOK {
		t.Fatal(got.Status)
	} else if _, err := io.Copy(io.Discard, got.Body); err != nil {
		t.Fatal(err)
	}
	s.api.room.taken.Store(placingsAtOnce)
	defer s.api.room.taken.Store(0)
	head := menu + "X-Other: " + strings.Repeat("x", firstLook/2) + "\r\nX-Field: " // what the server has read already makes room
	got := send(head + strings.Repeat("x", firstLook-len(head)) + tail)
	if got.StatusCode != http.StatusOK {
		t.Errorf("a GET with a long field: %s", got.Status)
	}
	if _, err := io.Copy(io.Discard, got.Body); err != nil {
		t.Fatal(err)
	}
	// The next on the connection asks for something else and must get just that.
	if got := send("GET /v1/stores/nowhere HTTP/1.1\r\nHost: shop\r\n\r\n"); got.StatusCode == http.StatusOK {
		t.Errorf("the next request was answered %s: the rest of the one before", got.Status)
	}
}

// TestPipelinedHalves sends the beginning of a request along with the one before.
func TestPipelinedHalves(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	send := s.connected(t)
	menu := "GET /v1/stores/" + testStore + "/menu HTTP/1.1\r\nHost: shop\r\n"
	got := send(menu + "\r\n" + menu + "X-Field: ")
	if _, err := io.Copy(io.Discard, got.Body); err != nil || got.StatusCode != http.StatusOK {
		t.Fatal(got.Status, err)
	}
	s.api.room.taken.Store(placingsAtOnce)
	defer s.api.room.taken.Store(0)
	time.Sleep(20 * time.Millisecond) // so that the server has come to it
	if got := send("POST /v1/stores/" + testStore + "/orders HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"); got.StatusCode != http.StatusOK {
		t.Errorf("a GET in two pieces: %s", got.Status)
	}
}

// TestSlowBodiesTakeNoRoom holds as many placings as there is room for, none of which sends its body: others are served.
func TestSlowBodiesTakeNoRoom(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.api.room.taken.Store(placingsAtOnce - 1)
	conn := s.dial(t, 10*time.Second)
	_, err := io.WriteString(conn, "POST /v1/stores/"+testStore+"/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nIdempotency-Key: "+
		uuid.NewString()+"\r\nContent-Length: 200\r\n\r\n{")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	s.place(t, atCounter()).wants(t, 201)
}

// TestRefusedByTheDoor wants placings on a connection that the server has to be refused by the door: the server would
// have dated its answer.
func TestRefusedByTheDoor(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	send := s.connected(t)
	read := func(request string, status int, dated bool) {
		t.Helper()
		got := send(request)
		if _, err := io.Copy(io.Discard, got.Body); err != nil || got.StatusCode != status || (got.Header.Get("Date") != "") != dated {
			t.Fatalf("%v, %d, dated %q", err, got.StatusCode, got.Header.Get("Date"))
		}
	}
	menu := "GET /v1/stores/" + testStore + "/menu HTTP/1.1\r\nHost: shop\r\n\r\n"
	read(menu, 200, true)
	read(placingText(t), 201, true)
	s.api.room.taken.Store(placingsAtOnce)
	defer s.api.room.taken.Store(0)
	for range 3 {
		time.Sleep(20 * time.Millisecond) // until the server is idle
		read(placingText(t), 503, false)
	}
	read(menu, 200, true)
	time.Sleep(20 * time.Millisecond)
	read(placingText(t), 503, false)
}
