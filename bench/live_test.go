package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// liveOn opens a stream on a server of its own.
func liveOn(t *testing.T, transport string, handle http.HandlerFunc) (Live, *Pool) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	pool, err := NewPool(server.URL, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	live, err := transports[transport](pool, &Store{Slug: "dumbo"}, "1", "fpo_x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(live.Close)
	return live, pool
}

func expect(t *testing.T, live Live, want ...string) {
	t.Helper()
	for _, one := range want {
		if got, err := live.Next(5 * time.Second); err != nil || string(got) != one {
			t.Fatalf("%.80s, %v; not %.80s", got, err, one)
		}
	}
	if _, err := live.Next(5 * time.Second); !errors.Is(err, io.EOF) {
		t.Fatalf("the end is %v", err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20_000)
	live, pool := liveOn(t, "sse", func(w http.ResponseWriter, _ *http.Request) {
		for _, part := range []string{": heart", "beat\n\nid: 1\nda", "ta: one\n", "\n", "data:two\r\n\r\ndata: " + long + "\n\n: heartbeat\n\n"} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	})
	expect(t, live, "one", "two", long)
	live.Close()
	c := pool.Get()
	if c.tcp == nil {
		t.Error("the connection of a stream that ended is not used again")
	}
}

func TestEventsBrokenOff(t *testing.T) {
	t.Parallel()
	live, _ := liveOn(t, "sse", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if _, err := live.Next(time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Next(time.Second); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that broke off: %v", err)
	}
}

func TestRefusedStream(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"code":"forbidden"}`)
	}))
	defer server.Close()
	pool, err := NewPool(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for transport, open := range transports {
		var refusal *Refusal
		if _, err := open(pool, &Store{Slug: "dumbo"}, "1", "x"); !errors.As(err, &refusal) || refusal.Code != "forbidden" {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	pongs := make(chan string, 1)
	live, _ := liveOn(t, "ws", func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer conn.Close()
		for _, frame := range []ws.Frame{
			ws.NewPingFrame([]byte("hello")), ws.NewTextFrame([]byte(`{"heartbeat": true}`)),
			ws.NewFrame(ws.OpText, false, []byte("o")), ws.NewFrame(ws.OpContinuation, true, []byte("ne")),
			ws.NewTextFrame([]byte("two")), ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")),
		} {
			_ = ws.WriteFrame(conn, frame)
		}
		pong, err := ws.ReadHeader(conn)
		payload := make([]byte, pong.Length)
		if _, short := io.ReadFull(conn, payload); err == nil && short == nil {
			ws.Cipher(payload, pong.Mask, 0)
			pongs <- fmt.Sprintf("%t %s", pong.OpCode == ws.OpPong, payload)
		}
	})
	expect(t, live, "one", "two")
	if pong := <-pongs; pong != "true hello" {
		t.Error("the ping was answered with", pong)
	}
}

func TestStaleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	server := openShop(t, lies{})
	l, _ := loadOn(t, server.URL, nil)
	c := l.Pool.Get()
	for range 3 {
		if _, err := l.menuOn(c, l.Stores[0], true); err != nil {
			t.Fatal(err)
		}
		server.CloseClientConnections()
	}
	if dials := l.Pool.dials.Load(); dials != 3 {
		t.Errorf("%d connections", dials)
	}
}
