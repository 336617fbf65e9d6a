package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
)

// writePatience bounds one write: a client that cannot take a message for so long is dropped and comes
// back.
const writePatience = 5 * time.Second

// stream is a live connection to one client, taken over from the HTTP server so that a watcher costs no buffers. One
// goroutine at a time uses it.
type stream interface {
	send(id string, data []byte, last bool) error
	heartbeat() error
	close(goingAway bool)
	onGone(then func()) // at any moment, unless only writing tells that the client has gone
}

// openStream is a WebSocket when the client asks to upgrade, else server-sent events.
func (a *API) openStream(c echo.Context) (stream, error) {
	if strings.EqualFold(c.Request().Header.Get("Upgrade"), "websocket") {
		return openSocket(c)
	}
	return openEvents(c, a.doors)
}

// events are server-sent events. Their head goes out with what is sent first, and their end with a message that is known to be
// the last: each write costs as much as all else that a message takes.
type events struct {
	conn    net.Conn
	head    []byte // not sent yet
	chunked bool   // HTTP/1.1: the connection can be used again
	doors   *doors // nil if the client would not use it again
	broken  bool   // half a message may be out
	ended   bool   // the end, which only chunks have, is out
}

// endOfEvents is the last chunk.
const endOfEvents = "0\r\n\r\n"

func openEvents(c echo.Context, doors *doors) (stream, error) {
	r, response := c.Request(), c.Response()
	header := response.Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy in between must pass each message on at once
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	conn, buffers, err := http.NewResponseController(response.Writer).Hijack()
	if err != nil {
		return nil, err
	}
	response.Committed, response.Status = true, http.StatusOK
	s := &events{conn: conn, chunked: r.ProtoAtLeast(1, 1)}
	if s.chunked && !r.Close && r.ContentLength == 0 && buffers.Reader.Buffered() == 0 {
		s.doors = doors
	} else {
		header.Set("Connection", "close")
	}
	if s.chunked {
		header.Set("Transfer-Encoding", "chunked")
	}
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(head) // a buffer takes everything
	head.WriteString("\r\n")
	s.head = head.Bytes()
	return s, nil
}

// messages are the bytes of those that have been sent, to be used again.
var messages = sync.Pool{New: func() any { return new([]byte) }}

func (s *events) send(id string, data []byte, last bool) error {
	size := len("data: ") + len(data) + len("\n\n")
	if id != "" {
		size += len("id: ") + len(id) + len("\n")
	}
	buffer := messages.Get().(*[]byte)
	defer messages.Put(buffer)
	message := s.begin(slices.Grow((*buffer)[:0], len(s.head)+size+16+len(endOfEvents)))
	if s.chunked {
		message = append(strconv.AppendInt(message, int64(size), 16), "\r\n"...)
	}
	if id != "" {
		message = append(append(append(message, "id: "...), id...), '\n')
	}
	message = append(append(append(message, "data: "...), data...), "\n\n"...)
	if s.chunked {
		message = append(message, "\r\n"...)
	}
	if s.chunked && last {
		message = append(message, endOfEvents...)
	}
	*buffer = message
	err := s.write(message)
	s.ended = s.chunked && last && err == nil
	return err
}

// begin puts the head in front of what is sent first.
func (s *events) begin(message []byte) []byte {
	message = append(message, s.head...)
	s.head = nil
	return message
}

func (s *events) heartbeat() error {
	if s.chunked {
		return s.write(append(s.begin(nil), "d\r\n: heartbeat\n\n\r\n"...))
	}
	return s.write(append(s.begin(nil), ": heartbeat\n\n"...))
}

func (s *events) write(message []byte) error {
	err := s.conn.SetWriteDeadline(time.Now().Add(writePatience))
	if err == nil {
		_, err = s.conn.Write(message)
	}
	s.broken = s.broken || err != nil
	return err
}

// close ends the stream, unless a message is half out that an end would complete, and gives the connection back for another request.
func (s *events) close(goingAway bool) {
	if s.chunked && !s.broken && s.end() == nil && s.doors != nil && !goingAway {
		go s.doors.giveBack(s.conn)
		return
	}
	_ = s.conn.Close()
}

func (s *events) end() error {
	if s.ended {
		return nil
	}
	return s.write(append(s.begin(nil), endOfEvents...))
}

func (s *events) onGone(func()) {}

// socket is a WebSocket. What the client sends, pings apart, ends it.
type socket struct {
	conn *websocket.Conn
	raw  net.Conn        // under conn
	ctx  context.Context // ends when the client goes away
}

// taken keeps the connection that a response is taken over from.
type taken struct {
	http.ResponseWriter
	conn net.Conn
}

func (t *taken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.conn = conn
	return conn, buffers, err
}

func openSocket(c echo.Context) (stream, error) {
	r := c.Request()
	if fault := handshakeFault(r); fault != "" {
		return nil, problem("bad_query", fault)
	}
	if !sameOrigin(r) {
		return nil, problem("forbidden", "a page of another site may not listen here")
	}
	response := &taken{ResponseWriter: c.Response()}
	conn, err := websocket.Accept(response, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // sameOrigin has looked
	if err != nil {
		return nil, err
	}
	return &socket{conn, response.conn, conn.CloseRead(context.WithoutCancel(r.Context()))}, nil
}

func handshakeFault(r *http.Request) string {
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !slices.ContainsFunc(strings.Split(strings.Join(r.Header.Values("Connection"), ","), ","), isUpgrade):
		return "the WebSocket handshake needs GET, HTTP/1.1 and Connection: Upgrade"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "the WebSocket handshake needs Sec-WebSocket-Version: 13"
	case len(keys) != 1:
		return "the WebSocket handshake needs one Sec-WebSocket-Key"
	}
	if nonce, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(nonce) != 16 {
		return "Sec-WebSocket-Key must be 16 bytes in base64"
	}
	return ""
}

func isUpgrade(token string) bool { return strings.EqualFold(strings.TrimSpace(token), "upgrade") }

// sameOrigin refuses pages of other sites; programs send no Origin.
func sameOrigin(r *http.Request) bool {
	given := r.Header.Get("Origin")
	if given == "" {
		return true
	}
	origin, err := url.Parse(given)
	return err == nil && strings.EqualFold(origin.Host, r.Host)
}

func (s *socket) send(_ string, data []byte, _ bool) error {
	ctx, cancel := context.WithTimeout(s.ctx, writePatience)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

func (s *socket) heartbeat() error { return s.send("", []byte(`{"heartbeat": true}`), false) }

func (s *socket) close(goingAway bool) {
	status := websocket.StatusNormalClosure
	if goingAway {
		status = websocket.StatusGoingAway
	}
	// To say goodbye it waits for all that the client has announced, however much that is and how long it takes.
	time.AfterFunc(writePatience, func() { _ = s.raw.Close() })
	_ = s.conn.Close(status, "")
}

func (s *socket) onGone(then func()) { context.AfterFunc(s.ctx, then) }
