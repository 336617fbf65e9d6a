package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
)

// writePatience bounds one write: a client that cannot take a message for so long is dropped and comes
// back.
const writePatience = 5 * time.Second

// stream is a live connection to one client. One goroutine uses it.
type stream interface {
	send(id string, data []byte) error
	heartbeat() error
	close(goingAway bool) error
	context() context.Context // ends when the client goes away
}

// openStream is a WebSocket when the client asks to upgrade, else server-sent events.
func openStream(c echo.Context) (stream, error) {
	if strings.EqualFold(c.Request().Header.Get("Upgrade"), "websocket") {
		return openSocket(c)
	}
	return openEvents(c)
}

// events are server-sent events.
type events struct {
	response *echo.Response
	control  *http.ResponseController
	ctx      context.Context
}

func openEvents(c echo.Context) (stream, error) {
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy in between must pass each message on at once
	s := &events{c.Response(), http.NewResponseController(c.Response().Writer), c.Request().Context()}
	c.Response().WriteHeader(http.StatusOK)
	return s, s.control.Flush()
}

func (s *events) send(id string, data []byte) error {
	message := make([]byte, 0, len(data)+40)
	if id != "" {
		message = append(message, "id: "+id+"\n"...)
	}
	message = append(message, "data: "...)
	message = append(message, data...)
	return s.write(append(message, "\n\n"...))
}

func (s *events) heartbeat() error { return s.write([]byte(": heartbeat\n\n")) }

func (s *events) write(message []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	if _, err := s.response.Write(message); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *events) close(bool) error         { return nil }
func (s *events) context() context.Context { return s.ctx }

// socket is a WebSocket. What the client sends, pings apart, ends it.
type socket struct {
	conn *websocket.Conn
	ctx  context.Context
}

func openSocket(c echo.Context) (stream, error) {
	r := c.Request()
	if fault := handshakeFault(r); fault != "" {
		return nil, problem("bad_query", fault)
	}
	if !sameOrigin(r) {
		return nil, problem("forbidden", "a page of another site may not listen here")
	}
	conn, err := websocket.Accept(c.Response(), r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // sameOrigin has looked
	if err != nil {
		return nil, err
	}
	return &socket{conn, conn.CloseRead(r.Context())}, nil
}

func handshakeFault(r *http.Request) string {
	switch {
	case r.Method != http.MethodGet || !strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade"):
		return "the WebSocket handshake needs GET and Connection: Upgrade"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "the WebSocket handshake needs Sec-WebSocket-Version: 13"
	case len(r.Header.Get("Sec-WebSocket-Key")) != 24:
		return "the WebSocket handshake needs a Sec-WebSocket-Key"
	}
	return ""
}

// sameOrigin refuses pages of other sites; programs send no Origin.
func sameOrigin(r *http.Request) bool {
	given := r.Header.Get("Origin")
	if given == "" {
		return true
	}
	origin, err := url.Parse(given)
	return err == nil && strings.EqualFold(origin.Host, r.Host)
}

func (s *socket) send(_ string, data []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, writePatience)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

func (s *socket) heartbeat() error { return s.send("", []byte(`{"heartbeat": true}`)) }

func (s *socket) close(goingAway bool) error {
	status := websocket.StatusNormalClosure
	if goingAway {
		status = websocket.StatusGoingAway
	}
	_ = s.conn.Close(status, "")
	return nil
}

func (s *socket) context() context.Context { return s.ctx }
