package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gobwas/ws"
)

// messageLimit bounds one message of a WebSocket.
const messageLimit = 1 << 20

var heartbeat = []byte(`{"heartbeat":`)

// socket is a stream over a WebSocket.
type socket struct {
	conn  *Conn
	data  []byte
	ended bool
}

// openSocket opens an order's stream as a WebSocket.
func openSocket(pool *Pool, store *Store, id, token string) (Live, error) {
	c := pool.Get()
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	c.Request("GET", "/v1/stores/", store.Slug, "/orders/", id, "/live")
	c.Header("Authorization", "Bearer ", token)
	c.Header("Connection", "Upgrade")
	c.Header("Upgrade", "websocket")
	c.Header("Sec-WebSocket-Version", "13")
	c.Header("Sec-WebSocket-Key", key)
	c.NoBody()
	if err := c.again(c.sendForHead); err != nil {
		return nil, err
	}
	if c.Status() != 101 {
		return nil, c.refusedHead("opening a WebSocket")
	}
	accepted := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if string(c.AnswerHeader("Sec-WebSocket-Accept")) != base64.StdEncoding.EncodeToString(accepted[:]) {
		return nil, c.broken("opening a WebSocket", errors.New("the key was not accepted"))
	}
	return &socket{conn: c}, nil
}

func (s *socket) Next(patience time.Duration) ([]byte, error) {
	if s.ended {
		return nil, io.EOF
	}
	if err := s.conn.patience(patience); err != nil {
		return nil, err
	}
	s.data = s.data[:0]
	for {
		header, err := s.frame()
		switch {
		case errors.Is(err, io.EOF):
			return nil, err
		case err != nil:
			return nil, s.conn.broken("reading a WebSocket", err)
		case header.OpCode.IsControl() || !header.Fin:
		case bytes.HasPrefix(s.data, heartbeat):
			s.data = s.data[:0]
		default:
			return s.data, nil
		}
	}
}

// frame reads a frame into data and answers it if it asks for that. io.EOF says that the target has closed the stream
// as it should.
func (s *socket) frame() (ws.Header, error) {
	header, err := ws.ReadHeader(s.conn.in)
	if err != nil {
		return header, unexpected(err)
	}
	begun := len(s.data)
	if header.Masked || header.Length > messageLimit || int64(begun)+header.Length > messageLimit {
		return header, fmt.Errorf("a frame of %d bytes, masked: %t", header.Length, header.Masked)
	}
	s.data = append(s.data, make([]byte, header.Length)...)
	if _, err := io.ReadFull(s.conn.in, s.data[begun:]); err != nil {
		return header, unexpected(err)
	}
	if !header.OpCode.IsControl() {
		return header, nil
	}
	payload := s.data[begun:]
	s.data = s.data[:begun]
	return header, s.control(header.OpCode, payload)
}

func (s *socket) control(code ws.OpCode, payload []byte) error {
	switch code {
	case ws.OpPing:
		return ws.WriteFrame(s.conn.tcp, ws.MaskFrame(ws.NewPongFrame(payload)))
	case ws.OpClose:
		status, reason := ws.ParseCloseFrameData(payload)
		if status != ws.StatusNormalClosure {
			return fmt.Errorf("closed with %d %s", status, reason)
		}
		err := ws.WriteFrame(s.conn.tcp, ws.MaskFrame(ws.NewCloseFrame(payload)))
		s.ended = true
		s.conn.Close()
		return errors.Join(err, io.EOF)
	}
	return nil
}

// unexpected keeps a connection that broke off from looking like a stream that ended.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *socket) Close() { s.conn.Close() }
