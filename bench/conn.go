package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// requestTimeout bounds one exchange, from the first byte sent to the last received.
	requestTimeout = 10 * time.Second
	// answerLimit bounds the body of one answer; a page of 200 orders of 50 lines fits.
	answerLimit = 32 << 20
)

// errStale says that a connection kept from before was closed without a byte of answer. Every request of the
// contract that changes something carries a key or an id, so it may be sent again.
var errStale = errors.New("the kept connection was closed")

// Conn is one keep-alive connection, made when it is first needed. It carries one exchange at a time: a request is
// built in place and the answer read into memory that the next one overwrites. net/http would start two goroutines
// for each connection and allocate for each exchange, on cores that the server under test needs.
type Conn struct {
	pool   *Pool
	tcp    net.Conn // nil: not connected
	in     *bufio.Reader
	lines  *bufio.Reader // of a stream; made with the first
	out    []byte
	digits []byte
	tap    []byte // a command under construction
	answer fasthttp.Response
	kept   time.Time // when it was put back
}

// Request begins a request. The address is given in parts, so that nothing has to be joined before.
func (c *Conn) Request(method string, address ...string) {
	c.out = append(append(c.out[:0], method...), ' ')
	for _, part := range address {
		c.out = append(c.out, part...)
	}
	c.out = append(append(append(c.out, " HTTP/1.1\r\nHost: "...), c.pool.host...), "\r\n"...)
}

// Header adds a header to the request.
func (c *Conn) Header(name string, value ...string) {
	c.out = append(append(c.out, name...), ": "...)
	for _, part := range value {
		c.out = append(c.out, part...)
	}
	c.out = append(c.out, "\r\n"...)
}

// Body completes the request with a JSON body, given in parts.
func (c *Conn) Body(parts ...[]byte) {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	c.out = append(c.out, "Content-Type: application/json\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(length), 10), "\r\n\r\n"...)
	for _, part := range parts {
		c.out = append(c.out, part...)
	}
}

// NoBody completes the request.
func (c *Conn) NoBody() { c.out = append(c.out, "\r\n"...) }

// Do sends the request and reads the whole answer.
func (c *Conn) Do() error {
	return c.again(func() error {
		if err := c.send(); err != nil {
			return err
		}
		return c.Receive()
	})
}

// Send sends the request without waiting for the answer, which Receive then has to read.
func (c *Conn) Send() error { return c.again(c.send) }

// Receive reads the answer to a request that was sent.
func (c *Conn) Receive() error {
	if err := c.firstByte(); err != nil {
		return err
	}
	if err := c.answer.ReadLimitBody(c.in, answerLimit); err != nil {
		return c.broken("reading the answer", err)
	}
	if c.answer.ConnectionClose() {
		c.Close()
	}
	return nil
}

// again makes an attempt, and another on a new connection if the kept one turns out to be stale.
func (c *Conn) again(attempt func() error) error {
	kept := c.tcp != nil
	err := attempt()
	if kept && errors.Is(err, errStale) {
		return attempt()
	}
	return err
}

func (c *Conn) send() error {
	if c.tcp == nil {
		if err := c.connect(); err != nil {
			return err
		}
	}
	if err := c.tcp.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return c.broken("setting a deadline", err)
	}
	if _, err := c.tcp.Write(c.out); err != nil {
		return c.stale(err)
	}
	return nil
}

func (c *Conn) connect() error {
	tcp, err := c.pool.dial()
	if err != nil {
		return err
	}
	c.tcp = tcp
	if c.in == nil {
		c.in = bufio.NewReader(tcp)
	} else {
		c.in.Reset(tcp)
	}
	return nil
}

// firstByte waits for the answer to begin.
func (c *Conn) firstByte() error {
	if _, err := c.in.Peek(1); err != nil {
		return c.stale(err)
	}
	return nil
}

// stale tells a connection that was closed from one that is slow: a request that timed out is not sent again.
func (c *Conn) stale(err error) error {
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return c.broken("waiting for the answer", err)
	}
	return c.broken("sending", fmt.Errorf("%w: %w", errStale, err))
}

func (c *Conn) broken(doing string, err error) error {
	c.Close()
	return faultf("transport", "%s: %w", doing, err)
}

// Close closes the connection. It may be used again: then it connects anew.
func (c *Conn) Close() {
	if c.tcp != nil {
		_ = c.tcp.Close() // there is nothing to be done about it
		c.pool.forget(c.tcp)
		c.tcp = nil
	}
}

// Status is that of the answer.
func (c *Conn) Status() int { return c.answer.StatusCode() }

// Answer is the body of the answer, valid until the next exchange.
func (c *Conn) Answer() []byte { return c.answer.Body() }

// AnswerHeader is a header of the answer, valid until the next exchange.
func (c *Conn) AnswerHeader(name string) []byte { return c.answer.Header.Peek(name) }

// number writes an integer for Body.
func (c *Conn) number(n int64) []byte {
	c.digits = strconv.AppendInt(c.digits[:0], n, 10)
	return c.digits
}
