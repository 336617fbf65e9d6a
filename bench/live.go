package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"time"
)

// Live is an order's stream of states.
type Live interface {
	// Next waits for the next state; heartbeats do not count. io.EOF says that the stream ended well. The bytes are
	// valid until the next call.
	Next(patience time.Duration) ([]byte, error)
	// Close gives the connection back if the stream has ended, else closes it.
	Close()
}

var transports = map[string]func(pool *Pool, store *Store, id, token string) (Live, error){
	"sse": openEvents, "ws": openSocket,
}

// sse is a stream of server-sent events.
type sse struct {
	conn  *Conn
	body  io.Reader
	data  []byte
	ended bool
}

// openEvents opens an order's stream as server-sent events.
func openEvents(pool *Pool, store *Store, id, token string) (Live, error) {
	c := pool.Get()
	c.Request("GET", "/v1/stores/", store.Slug, "/orders/", id, "/live")
	c.Header("Authorization", "Bearer ", token)
	c.Header("Accept", "text/event-stream")
	c.NoBody()
	if err := c.again(c.sendForHead); err != nil {
		return nil, err
	}
	if c.Status() != 200 {
		return nil, c.refusedHead("opening a stream")
	}
	s := &sse{conn: c, body: c.in}
	if c.answer.Header.ContentLength() == -1 {
		s.body = httputil.NewChunkedReader(c.in)
	}
	if c.lines == nil {
		c.lines = bufio.NewReader(s.body)
	} else {
		c.lines.Reset(s.body)
	}
	return s, nil
}

// sendForHead sends the request and reads the head of the answer alone.
func (c *Conn) sendForHead() error {
	if err := c.send(); err != nil {
		return err
	}
	if err := c.firstByte(); err != nil {
		return err
	}
	c.answer.Reset()
	if err := c.answer.Header.Read(c.in); err != nil {
		return c.broken("reading the answer", err)
	}
	return nil
}

// refusedHead reads the rest of a refusal, of which only the head was read.
func (c *Conn) refusedHead(doing string) error {
	defer c.pool.Put(c)
	if err := c.answer.ReadBody(c.in, answerLimit); err != nil {
		return c.broken("reading a refusal", err)
	}
	return c.refused(doing)
}

// patience bounds how long the connection may stay silent from now on.
func (c *Conn) patience(most time.Duration) error {
	if c.tcp == nil {
		return faultf("transport", "the stream has broken off before")
	}
	if err := c.tcp.SetDeadline(time.Now().Add(most)); err != nil {
		return c.broken("setting a deadline", err)
	}
	return nil
}

func (s *sse) Next(patience time.Duration) ([]byte, error) {
	if s.ended {
		return nil, io.EOF
	}
	if err := s.conn.patience(patience); err != nil {
		return nil, err
	}
	s.data = s.data[:0]
	for {
		whole, err := s.line()
		switch {
		case errors.Is(err, io.EOF):
			return nil, s.end()
		case err != nil:
			return nil, s.conn.broken("reading a stream", err)
		case whole && len(s.data) > 0:
			return s.data, nil
		}
	}
}

// line reads a line into data if it belongs there. An empty line makes an event whole.
func (s *sse) line() (whole bool, err error) {
	begun := len(s.data)
	for {
		part, err := s.conn.lines.ReadSlice('\n')
		s.data = append(s.data, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return false, err
		}
	}
	line := bytes.TrimRight(s.data[begun:], "\r\n")
	text, isData := bytes.CutPrefix(line, []byte("data:"))
	if !isData {
		s.data = s.data[:begun]
		return len(line) == 0, nil
	}
	n := copy(s.data[begun:], bytes.TrimPrefix(text, []byte(" ")))
	s.data = s.data[:begun+n]
	return false, nil
}

// end reads what follows the last chunk, after which the connection can be used again. A body without chunks ends
// with its connection.
func (s *sse) end() error {
	if s.body == s.conn.in {
		s.conn.Close()
	} else {
		for line := []byte{' '}; len(bytes.TrimRight(line, "\r\n")) > 0; {
			var err error
			if line, err = s.conn.in.ReadSlice('\n'); err != nil {
				return s.conn.broken("reading the end of a stream", err)
			}
		}
	}
	s.ended = true
	return io.EOF
}

func (s *sse) Close() {
	if !s.ended {
		s.conn.Close()
		return
	}
	s.conn.pool.Put(s.conn)
}
