package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// handshake asks to upgrade to a WebSocket.
var handshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// TestLiveRefusals wants every refusal as a plain answer, before any stream begins.
func TestLiveRefusals(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board, elsewhere := s.device(t, testStore), s.device(t, "hayes-valley")
	o, other := s.place(t, atCounter()).order(t), s.place(t, atCounter()).order(t)
	nobodys := "/v1/stores/" + testStore + "/orders/" + uuid.Must(uuid.NewV7()).String() + "/live"
	for name, x := range map[string]struct {
		path, token string
		status      int
		code        string
	}{
		"order, no credential":          {o.live(), "", 401, "unauthenticated"},
		"order, nonsense":               {o.live(), "fpo_x", 401, "unauthenticated"},
		"order, another's token":        {o.live(), other.Token, 403, "forbidden"},
		"order, another store's device": {o.live(), elsewhere, 403, "forbidden"},
		"no such order, customer":       {nobodys, o.Token, 403, "forbidden"},
		"no such order, device":         {nobodys, board, 404, "not_found"},
		"board, no credential":          {boardLive, "", 401, "unauthenticated"},
		"board, unknown device":         {boardLive, board[:len(board)-2] + "AA", 401, "unauthenticated"},
		"board, another store's device": {boardLive, elsewhere, 403, "forbidden"},
		"board, customer":               {boardLive, o.Token, 403, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.call(t, "GET", x.path, x.token, nil).wantsProblem(t, x.status, x.code)
			s.call(t, "GET", x.path, x.token, nil, handshake...).wantsProblem(t, x.status, x.code)
			if x.token != "" {
				s.call(t, "GET", x.path+"?token="+x.token, "", nil, handshake...).wantsProblem(t, x.status, x.code)
			}
		})
	}
	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		for without := range handshake {
			if without == 1 {
				continue // that is server-sent events
			}
			headers := append(append([]string{}, handshake[:without]...), handshake[without+1:]...)
			s.call(t, "GET", o.live(), o.Token, nil, headers...).wantsProblem(t, http.StatusBadRequest, "bad_query")
		}
	})
}

// TestForeignOrigin is about pages of other sites, whose scripts may open a WebSocket anywhere.
func TestForeignOrigin(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	for path, token := range map[string]string{o.live(): o.Token, boardLive: board} {
		for _, origin := range []string{"https://evil.example", "null", "file://", s.URL + ".evil.example", "http://127.0.0.1", "://"} {
			s.call(t, "GET", path, token, nil, append(handshake, "Origin: "+origin)...).wantsProblem(t, http.StatusForbidden, "forbidden")
		}
		s.viewer(true, path, token).open(t, "Origin: "+s.URL).next(t, soon)
	}
}

func TestTokenInQuery(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	for path, token := range map[string]string{o.live(): o.Token, boardLive: board} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path+"?token="+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s?token=: %d, Referrer-Policy %q", path, resp.StatusCode, resp.Header.Get("Referrer-Policy"))
		}
		conn, _, err := websocket.Dial(t.Context(), s.URL+path+"?token="+token, &websocket.DialOptions{HTTPClient: s.client})
		if err != nil {
			t.Fatalf("%s?token= of a WebSocket: %v", path, err)
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		other := strings.TrimSuffix(path, "/live")
		s.call(t, "GET", other+"?token="+token, "", nil).wantsProblem(t, http.StatusUnauthorized, "unauthenticated")
	}
	s.call(t, "POST", o.path()+"/cancel?token="+o.Token, "", object{}).wantsProblem(t, http.StatusUnauthorized, "unauthenticated")
}

// TestHandshakeRefusals has handshakes that are no good, each of which gets a problem like any other request.
func TestHandshakeRefusals(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, atCounter()).order(t)
	path := "GET " + o.path() + "/live HTTP/1.1"
	good := strings.Join(handshake, "\r\n")
	for what, request := range map[string]string{
		"HTTP/1.0":        strings.Replace(path, "1.1", "1.0", 1) + "\r\n" + good,
		"two keys":        path + "\r\n" + good + "\r\n" + handshake[3],
		"no base64":       path + "\r\n" + strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "????????????????????????", 1),
		"a short key":     path + "\r\n" + strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 1),
		"no upgrade":      path + "\r\n" + strings.Replace(good, "Connection: Upgrade", "Connection: no-upgrade", 1),
		"another version": path + "\r\n" + strings.Replace(good, "Version: 13", "Version: 8", 1),
	} {
		resp := s.connected(t)(request + "\r\nHost: shop\r\nAuthorization: Bearer " + o.Token + "\r\n\r\n")
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), `"bad_query"`) {
			t.Errorf("%s: %d %s %v", what, resp.StatusCode, body, err)
		}
	}
}

// TestSocketThatAnnouncesMuch has a client that begins a message of 2^40 bytes and says no more.
func TestSocketThatAnnouncesMuch(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, atCounter()).order(t)
	conn := s.dial(t, 30*time.Second)
	request := "GET " + o.live() + " HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer " + o.Token + "\r\n" + strings.Join(handshake, "\r\n") + "\r\n\r\n"
	frame := "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00mask"
	if _, err := io.WriteString(conn, request+frame); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(string(said), "HTTP/1.1 101") {
		t.Errorf("the connection is not closed: %q, %v", said, err)
	}
}

// dial is a bare connection to the shop, for so long at most. It ends with the test.
func (s *shop) dial(t *testing.T, patience time.Duration) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// connected sends requests over one connection, as they are.
func (s *shop) connected(t *testing.T) func(request string) *http.Response {
	t.Helper()
	conn := s.dial(t, 30*time.Second)
	return func(request string) *http.Response {
		t.Helper()
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
}

// TestUsedConnectionIsKept has a connection whose stream is over: it is kept as long as any other, for the next request,
// and does not hold up the end of the process.
func TestUsedConnectionIsKept(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, atCounter()).order(t)
	send := s.connected(t)
	ask := func(path string) *http.Response {
		return send("GET " + path + " HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer " + o.Token + "\r\n\r\n")
	}
	stream := ask(o.path() + "/live")
	s.cancel(t, o).wants(t, 200)
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Fatal(err)
	}
	time.Sleep(headerTimeout + time.Second)
	if resp := ask(o.path()); resp.StatusCode != 200 {
		t.Errorf("asked again over the same connection: %d", resp.StatusCode)
	}
	stream = ask(o.path() + "/live")
	_, _ = io.Copy(io.Discard, stream.Body)
	began := time.Now()
	if s.closeSoon(t); time.Since(began) > 4*time.Second {
		t.Errorf("closed after %v", time.Since(began))
	}
}

// TestHalfAMessageIsNotEnded has a client that stalls within a message: what ends the stream must not end the message.
func TestHalfAMessageIsNotEnded(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	stream := &events{conn: &stalledConn{Conn: ours}, chunked: true}
	came := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(theirs)
		came <- all
	}()
	if err := stream.send("7", []byte(`{"id": 1}`), true); err == nil {
		t.Error("half a message is no error")
	}
	stream.close(false)
	if all := <-came; len(all) != 10 {
		t.Errorf("the client got %q", all)
	}
}

// stalledConn takes ten bytes of the first message and everything of the next.
type stalledConn struct {
	net.Conn
	stalled bool
}

func (c *stalledConn) Write(message []byte) (int, error) {
	if c.stalled {
		return c.Conn.Write(message)
	}
	c.stalled = true
	n, _ := c.Conn.Write(message[:10])
	return n, os.ErrDeadlineExceeded
}

// TestSlowReader has a device that stopped reading, but holds on to its connection.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	for _, upgrade := range []string{"", "\r\n" + strings.Join(handshake, "\r\n")} {
		openMute(t, s, "GET "+boardLive+" HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer "+board+upgrade+"\r\n\r\n")
	}
	for end := time.Now().Add(soon); s.api.streams.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the slow readers are not connected")
		}
	}
	w := s.viewer(true, boardLive, board).open(t)
	w.next(t, soon)
	var slowest time.Duration
	for end := time.Now().Add(45 * time.Second); s.api.streams.Load() > 1; {
		began := time.Now()
		if o.Status == "placed" {
			o = s.moved(t, board, o, "start")
		} else {
			o = s.do(t, board, "undo", o, "applied", object{"base_version": o.Version}).Order.with(o.Token)
		}
		w.until(t, soon, func(seen order) bool { return seen.Version == o.Version })
		slowest = max(slowest, time.Since(began))
		if time.Now().After(end) {
			t.Fatalf("after %d versions the slow readers are still there", o.Version)
		}
	}
	t.Logf("%d versions until both slow readers were dropped; the other viewer waited at most %v", o.Version, slowest.Round(time.Millisecond))
	if slowest > 3*time.Second {
		t.Errorf("the other viewer waited %v", slowest)
	}
}

// openMute sends a request and never reads the answer. Small segments keep the buffers in between small.
func openMute(t *testing.T, s *shop, request string) {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
		var refused error
		err := conn.Control(func(fd uintptr) {
			refused = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10))
		})
		return errors.Join(err, refused)
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
}

// TestEventsWriteSeldom wants no write for the head of a stream or its end alone, and all of it whole.
func TestEventsWriteSeldom(t *testing.T) {
	t.Parallel()
	conn := &countedConn{}
	stream := &events{conn: conn, head: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), chunked: true}
	for id, last := range []bool{false, true} {
		if err := stream.send(strconv.Itoa(id), []byte("{}"), last); err != nil {
			t.Fatal(err)
		}
	}
	stream.close(false)
	reader := bufio.NewReader(&conn.written)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if want := "id: 0\ndata: {}\n\nid: 1\ndata: {}\n\n"; err != nil || string(body) != want {
		t.Errorf("%q, %v", body, err)
	}
	if conn.writes != 2 || reader.Buffered() > 0 {
		t.Errorf("%d writes for two messages, and %d bytes after the end", conn.writes, reader.Buffered())
	}
}

type countedConn struct {
	net.Conn
	writes  int
	written bytes.Buffer
}

func (c *countedConn) Write(message []byte) (int, error) {
	c.writes++
	return c.written.Write(message)
}

func (c *countedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *countedConn) Close() error                     { return nil }
