package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"frenchpress/db"
)

const (
	// placingsAtOnce bounds the orders that are read, priced and written at a time: at 4,000 a second half a second's,
	// which rides out a checkpoint at 6,000. What is asked beyond that is refused before it costs anything: what time
	// there is belongs to those that were taken.
	placingsAtOnce = 2048
	// placingsPressed bounds them once there was no room, until nobody was refused for as long as pressed says: two
	// groups, one that is written and one that gathers. Under a load that stays a longer queue gets no more done,
	// everybody in it only waits longer, and those who come after it as well.
	placingsPressed = 512
	pressed         = time.Second
)

// room is for orders on their way in. All methods are safe for concurrent use.
type room struct {
	taken   atomic.Int64
	refused atomic.Int64 // when somebody was last refused, by sinceStart
}

// enter takes a place for an order; false when there is none. Whoever got one calls leave.
func (r *room) enter() bool {
	if r.lacks(r.taken.Add(1)) {
		r.taken.Add(-1)
		return false
	}
	return true
}

func (r *room) leave() { r.taken.Add(-1) }

// full tells whether enter would say no.
func (r *room) full() bool { return r.lacks(r.taken.Load() + 1) }

// lacks tells whether so many are too many.
func (r *room) lacks(n int64) bool {
	return n > placingsAtOnce || n > placingsPressed && sinceStart()-time.Duration(r.refused.Load()) < pressed
}

// refuse takes note that somebody is refused.
func (r *room) refuse() { r.refused.Store(int64(sinceStart())) }

var started = time.Now()

// sinceStart is the time on a clock that nobody sets.
func sinceStart() time.Duration { return time.Since(started) }

// doors is where connections come in, and where those whose stream has ended come in again: a listener from which the
// HTTP server takes each with its first request. While there is no room for another order, placings are refused right
// here, on connections that the server has and is not using too: for the server to read one and say no costs three
// times what saying no does, and under a load that the shop cannot carry nothing would be left for the orders that were
// taken. All methods are safe for concurrent use.
type doors struct {
	full    func() bool
	refused func() // is told of each
	log     *slog.Logger

	conns chan net.Conn
	open  context.Context // ends with the listener
	end   context.CancelFunc
	from  net.Listener
}

func newDoors(from net.Listener, full func() bool, refused func(), log *slog.Logger) *doors {
	open, end := context.WithCancel(context.Background())
	return &doors{full: full, refused: refused, log: log, conns: make(chan net.Conn), open: open, end: end, from: from}
}

const (
	firstLook  = 4096 // bytes of a request, with its body, that are looked at: what the server reads at a time
	acceptWait = 500 * time.Millisecond
)

var firstLooks = sync.Pool{New: func() any { return new([firstLook]byte) }}

// run lets connections in until the doors close. An error that is not the end, such as too many open files, is
// waited out: no connection can be accepted meanwhile.
func (d *doors) run() error {
	for {
		conn, err := d.from.Accept()
		switch {
		case err == nil:
			go d.await(&door{TCPConn: conn.(*net.TCPConn), doors: d}, headerTimeout)
		case d.open.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			d.log.Warn("a connection cannot be let in, which is tried again", slog.Any("error", err))
			time.Sleep(acceptWait)
		}
	}
}

// giveBack takes a connection whose stream has ended.
func (d *doors) giveBack(conn net.Conn) {
	if c, ok := conn.(*door); ok {
		d.await(c, idleTimeout)
		return
	}
	_ = conn.Close()
}

// await hands a connection over with the first bytes of a request that is not refused: it costs no buffer before
// that, and of new connections the server expects a request at once.
func (d *doors) await(c *door, patience time.Duration) {
	stop := context.AfterFunc(d.open, func() { _ = c.Close() })
	for {
		look, n := c.look(patience)
		if n > 0 && d.full() && wholePlacing(look[:n]) {
			firstLooks.Put(look)
			if c.refuse() == nil {
				patience = idleTimeout
				continue
			}
			n = 0
		}
		if !stop() || n == 0 || c.SetReadDeadline(time.Time{}) != nil {
			_ = c.Close()
			return
		}
		c.looked, c.begun = look, look[:n]
		break
	}
	select {
	case d.conns <- c:
	case <-d.open.Done():
		_ = c.Close()
	}
}

// Accept waits for a connection with a request, or returns net.ErrClosed.
func (d *doors) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.open.Done():
		return nil, net.ErrClosed
	}
}

// Close lets nobody in any more, and closes what waits for a request.
func (d *doors) Close() error {
	d.end()
	return d.from.Close()
}

// Addr is where to knock.
func (d *doors) Addr() net.Addr { return d.from.Addr() }

// door is one connection.
type door struct {
	*net.TCPConn
	doors  *doors
	writes time.Time        // the deadline of writing, if the server set it
	idle   atomic.Bool      // the server has it and is between two requests
	begun  []byte           // what was read before the server got it
	looked *[firstLook]byte // where that is
}

// look waits for a request to begin and returns its first bytes; none when nothing came.
func (c *door) look(patience time.Duration) (*[firstLook]byte, int) {
	if c.SetReadDeadline(time.Now().Add(patience)) != nil { // then it cannot be read either
		return nil, 0
	}
	var first [1]byte
	if n, _ := c.TCPConn.Read(first[:]); n == 0 {
		return nil, 0
	}
	if c.SetReadDeadline(time.Now().Add(headerTimeout)) != nil {
		return nil, 0
	}
	look := firstLooks.Get().(*[firstLook]byte)
	look[0] = first[0]
	n, _ := c.TCPConn.Read(look[1:])
	return look, 1 + n
}

// noteIdle is the HTTP server's ConnState: it knows where requests begin.
func noteIdle(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*door); ok {
		c.idle.Store(state == http.StateIdle)
	}
}

// deadlineStep is how exact a deadline for writing is: a connection that is asked again within it keeps the one it has.
const deadlineStep = time.Second

// SetWriteDeadline is what the server calls twice for every request, to set it and to take it away. Between requests
// nothing is written, so it stays, and is seldom set anew: each call costs a fiftieth of a small answer.
func (c *door) SetWriteDeadline(at time.Time) error {
	if later := at.Sub(c.writes); at.IsZero() || later >= 0 && later < deadlineStep {
		return nil
	}
	c.writes = at
	return c.TCPConn.SetWriteDeadline(at)
}

// SetDeadline is what the server calls when it hands the connection over.
func (c *door) SetDeadline(at time.Time) error {
	c.writes = at
	return c.TCPConn.SetDeadline(at)
}

// Read gives the server what was sent, but for placings that are refused. Only what the server reads first after a
// request, into a buffer that is empty, is the beginning of another: what comes after that belongs to it, whatever it
// looks like, and the server says that it is not idle only when it has a whole head.
func (c *door) Read(to []byte) (int, error) {
	if len(c.begun) > 0 {
		n := copy(to, c.begun)
		if c.begun = c.begun[n:]; len(c.begun) == 0 {
			firstLooks.Put(c.looked)
			c.begun, c.looked = nil, nil
		}
		return n, nil
	}
	for {
		n, err := c.TCPConn.Read(to)
		if err != nil || !c.idle.Load() || len(to) < firstLook || !c.doors.full() || !wholePlacing(to[:n]) {
			c.idle.Store(false)
			return n, err
		}
		if err := c.refuse(); err != nil {
			return 0, err
		}
	}
}

// refuse answers in the place of the server, and is idle again.
func (c *door) refuse() error {
	c.doors.refused()
	now := time.Now()
	if err := c.SetWriteDeadline(now.Add(writePatience)); err != nil {
		return err
	}
	if _, err := c.Write(refusal); err != nil {
		return err
	}
	return c.SetReadDeadline(now.Add(idleTimeout))
}

// refusal is the whole answer to a placing for which there is no room.
var refusal = func() []byte {
	p := tooManyOrders()
	body, err := p.MarshalJSON()
	if err != nil {
		panic(err) // it is made of constants
	}
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 503 Service Unavailable\r\n")
	_ = http.Header{
		"Content-Type": {problemType}, "Content-Length": {strconv.Itoa(len(body))}, "Retry-After": {strconv.Itoa(p.RetryAfter)},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": nosniff, "Referrer-Policy": noReferrer,
	}.Write(&answer) // a buffer takes everything
	answer.WriteString("\r\n")
	answer.Write(body)
	return answer.Bytes()
}()

func tooManyOrders() *Problem { return problem("overloaded", "too many orders at once; try again") }

// wholePlacing tells whether these bytes are one placing and nothing else. Whatever is unusual about it is left to
// the server to understand.
func wholePlacing(request []byte) bool {
	head, body, whole := bytes.Cut(request, []byte("\r\n\r\n"))
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	store, placing := bytes.CutPrefix(line, []byte("POST /v1/stores/"))
	store, exactly := bytes.CutSuffix(store, []byte("/orders HTTP/1.1"))
	if !whole || !placing || !exactly || bytes.ContainsAny(store, "/? ") {
		return false
	}
	length := -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			given, err := strconv.Atoi(string(value))
			if err != nil || length >= 0 {
				return false
			}
			length = given
		case bytes.EqualFold(name, []byte("Connection")) && !bytes.EqualFold(value, []byte("keep-alive")),
			bytes.EqualFold(name, []byte("Expect")), bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.EqualFold(name, []byte("Upgrade")):
			return false
		}
	}
	return length == len(body)
}

// full tells whether there is no room for another order.
func (a *API) full() bool { return a.room.full() || a.orders.Behind() }

// noteRefused counts a placing that was refused at the door.
func (a *API) noteRefused() {
	a.room.refuse()
	a.metrics.refusedPlacings.Inc()
	a.noteShed()
}

// noRoom refuses a placing that came to its handler.
func (a *API) noRoom() error {
	a.room.refuse()
	return tooManyOrders().because(db.ErrOverloaded)
}
