package main

import (
	"net"
	"sync"
)

// reusedConns are connections whose stream has ended: a listener, from which the HTTP server takes them like new
// ones. All methods are safe for concurrent use.
type reusedConns struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newReusedConns() *reusedConns {
	return &reusedConns{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (r *reusedConns) giveBack(conn net.Conn) {
	select {
	case r.conns <- conn:
	case <-r.closed:
		_ = conn.Close()
	}
}

// Accept waits for a connection, or returns net.ErrClosed.
func (r *reusedConns) Accept() (net.Conn, error) {
	select {
	case conn := <-r.conns:
		return conn, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close makes the listener refuse what is given back from now on.
func (r *reusedConns) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// Addr is of no address of its own.
func (r *reusedConns) Addr() net.Addr { return &net.TCPAddr{} }
