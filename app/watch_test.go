package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// viewer watches an order or a board over server-sent events or a WebSocket, from stream to stream, and fails
// the test at any message that is not in the contract or whose version repeats or goes back.
type viewer struct {
	shop   *shop
	socket bool
	path   string
	token  string

	mu   sync.Mutex
	seen map[string]int // the newest version of each order
}

var transports = map[string]bool{"events": false, "socket": true}

func (s *shop) viewer(socket bool, path, token string) *viewer {
	return &viewer{shop: s, socket: socket, path: path, token: token, seen: map[string]int{}}
}

func (v *viewer) version(o order) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[o.ID]
}

// watching is one open stream.
type watching struct {
	viewer   *viewer
	stop     func()
	conn     *websocket.Conn // nil for events
	messages chan message    // closed at the end of the stream
	end      error           // why it ended; read it after messages is closed
	resumed  bool            // the client said what it has
	begun    bool            // something was said; the reader's
}

// message is what came over a stream: a heartbeat, a board or an order.
type message struct {
	data  []byte
	id    string
	beat  bool
	board []order
	order *order
}

// open opens a stream, which ends with the test.
func (v *viewer) open(t *testing.T, headers ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{viewer: v, messages: make(chan message, 4096)}
	header := http.Header{"Authorization": {"Bearer " + v.token}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		header.Set(name, value)
		w.resumed = w.resumed || name == "Last-Event-ID"
	}
	read := w.openEvents
	if v.socket {
		read = w.openSocket
	}
	loop := read(ctx, t, header)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(w.messages)
		w.end = loop()
	}()
	w.stop = func() {
		cancel()
		<-done // what comes later would be a message of the viewer's next stream
	}
	t.Cleanup(w.stop)
	return w
}

func (w *watching) openEvents(ctx context.Context, t *testing.T, header http.Header) func() error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.viewer.shop.URL+w.viewer.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := w.viewer.shop.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || mediaType(resp.Header) != "text/event-stream" {
		resp.Body.Close()
		t.Fatalf("%s: %d %s", w.viewer.path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return func() error {
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		var m message
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case lines.Text() == "" && (m.data != nil || m.beat):
				w.take(t, m)
				m = message{}
			case lines.Text() == "":
				t.Errorf("%s: an event of nothing", w.viewer.path)
			case field == "": // a comment
				m.beat = true
			case field == "id":
				m.id = value
			case field == "data" && m.data == nil:
				m.data = []byte(value)
			default:
				t.Errorf("%s: unexpected line %.200q", w.viewer.path, lines.Text())
			}
		}
		return lines.Err()
	}
}

func (w *watching) openSocket(ctx context.Context, t *testing.T, header http.Header) func() error {
	t.Helper()
	conn, _, err := websocket.Dial(ctx, w.viewer.shop.URL+w.viewer.path, &websocket.DialOptions{HTTPClient: w.viewer.shop.client, HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	w.conn = conn
	conn.SetReadLimit(1 << 20)
	return func() error {
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, data, err := conn.Read(ctx)
			if err != nil {
				return err
			}
			if kind != websocket.MessageText {
				t.Errorf("%s: a frame of type %v", w.viewer.path, kind)
			}
			w.take(t, message{data: data, beat: strings.Contains(string(data), `"heartbeat"`)})
		}
	}
}

// take checks a message and hands it on.
func (w *watching) take(t *testing.T, m message) {
	v := w.viewer
	ofBoard := strings.HasSuffix(v.path, "/board/live")
	schema := "Order"
	switch {
	case m.beat && !v.socket:
		w.messages <- m
		return
	case ofBoard:
		schema = "BoardMessage"
	case v.socket:
		schema = "OrderMessage"
	}
	checkSchema(t, schema, m.data)
	if !m.beat {
		w.read(t, &m, ofBoard)
		w.checkVersions(t, m, ofBoard)
		w.begun = true
	}
	w.messages <- m
}

func (w *watching) read(t *testing.T, m *message, ofBoard bool) {
	var body struct {
		Board *struct{ Orders []order }
		Order *order
	}
	target := any(&body)
	if !ofBoard {
		target = &body.Order
	}
	if err := json.Unmarshal(m.data, target); err != nil {
		t.Error(err)
	}
	m.order = body.Order
	if body.Board != nil {
		m.board = append([]order{}, body.Board.Orders...)
	}
	if ofBoard && (m.board == nil) != w.begun {
		t.Errorf("%s: the board comes first and once, not %.100s", w.viewer.path, m.data)
	}
}

// checkVersions lets the first message of a stream show again what an earlier stream showed, unless the client
// said what it has.
func (w *watching) checkVersions(t *testing.T, m message, ofBoard bool) {
	v := w.viewer
	v.mu.Lock()
	defer v.mu.Unlock()
	again := !w.begun && !w.resumed
	for _, o := range append(m.board, deref(m.order)...) {
		if o.Version < v.seen[o.ID] || o.Version == v.seen[o.ID] && !again {
			t.Errorf("%s: version %d of %s after %d", v.path, o.Version, o.ID, v.seen[o.ID])
		}
		v.seen[o.ID] = o.Version
		if want := strconv.Itoa(o.Version); (m.id == want) == (v.socket || ofBoard) {
			t.Errorf("%s: the id of version %s is %q", v.path, want, m.id)
		}
	}
}

func deref(o *order) []order {
	if o == nil {
		return nil
	}
	return []order{*o}
}

// next is the next message but for heartbeats; the test fails if the stream ends or is silent for so long.
func (w *watching) next(t *testing.T, limit time.Duration) message {
	t.Helper()
	m, ok := w.more(t, limit)
	if !ok {
		t.Fatalf("%s ended: %v", w.viewer.path, w.end)
	}
	return m
}

// more is next, false at the end of the stream.
func (w *watching) more(t *testing.T, limit time.Duration) (message, bool) {
	t.Helper()
	silence := time.After(limit)
	for {
		select {
		case m, ok := <-w.messages:
			if !m.beat {
				return m, ok
			}
		case <-silence:
			t.Fatalf("%s said nothing for %v", w.viewer.path, limit)
		}
	}
}

// until reads on to an order as wanted.
func (w *watching) until(t *testing.T, limit time.Duration, wanted func(order) bool) order {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		if m := w.next(t, time.Until(end)); m.order != nil && wanted(*m.order) {
			return *m.order
		}
	}
}

// rest reads to the end of the stream, which must come in time, and returns the last order.
func (w *watching) rest(t *testing.T, limit time.Duration) (last *order) {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		m, ok := w.more(t, time.Until(end))
		if !ok {
			return last
		}
		if m.order != nil {
			last = m.order
		}
	}
}

func is(status string) func(order) bool { return func(o order) bool { return o.Status == status } }
