package main

import (
	"context"
	"net"
	"time"
)

// reusedConns are connections whose stream has ended: a listener, from which the HTTP server takes them like new
// ones. All methods are safe for concurrent use.
type reusedConns struct {
	conns chan net.Conn
	open  context.Context // ends with the listener
	end   context.CancelFunc
}

func newReusedConns() *reusedConns {
	open, end := context.WithCancel(context.Background())
	return &reusedConns{make(chan net.Conn), open, end}
}

// giveBack waits for the next request, as long as any connection may be idle, and hands the connection over with the
// first byte of it: of new connections the server expects a request at once.
func (r *reusedConns) giveBack(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(idleTimeout)) // if it cannot be set, it cannot be read either
	stop := context.AfterFunc(r.open, func() { _ = conn.Close() })
	first := make([]byte, 1)
	n, _ := conn.Read(first)
	if !stop() || n == 0 || conn.SetReadDeadline(time.Time{}) != nil {
		_ = conn.Close()
		return
	}
	select {
	case r.conns <- &begunConn{conn, first}:
	case <-r.open.Done():
		_ = conn.Close()
	}
}

// begunConn is a connection of which something has been read.
type begunConn struct {
	net.Conn
	begun []byte
}

// Read gives first what was read before.
func (c *begunConn) Read(to []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(to)
	}
	n := copy(to, c.begun)
	c.begun = c.begun[n:]
	return n, nil
}

// Accept waits for a connection, or returns net.ErrClosed.
func (r *reusedConns) Accept() (net.Conn, error) {
	select {
	case conn := <-r.conns:
		return conn, nil
	case <-r.open.Done():
		return nil, net.ErrClosed
	}
}

// Close makes the listener refuse what is given back from now on, and closes what waits for a request.
func (r *reusedConns) Close() error {
	r.end()
	return nil
}

// Addr is of no address of its own.
func (r *reusedConns) Addr() net.Addr { return &net.TCPAddr{} }
