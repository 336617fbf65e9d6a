package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// idleMax is how long a connection is kept unused. Servers and proxies commonly close theirs after a minute.
const idleMax = 20 * time.Second

// Pool keeps connections to the target. The one used last is given out first, so that no more are kept alive than
// the load needs. Safe for concurrent use.
type Pool struct {
	host    string // host:port of the target
	sources []net.Addr
	dials   atomic.Uint64

	mu   sync.Mutex
	idle []*Conn
	open map[net.Conn]struct{}
	over bool
}

// NewPool makes a pool for an http address. Each of the local addresses sources, if there are any, carries its
// share of the connections: one address has only some 28,000 ports.
func NewPool(target string, sources []string) (*Pool, error) {
	address, err := url.Parse(target)
	if err != nil || address.Scheme != "http" || address.Host == "" || len(address.Path) > 1 {
		return nil, fmt.Errorf("target %q must look like http://127.0.0.1:8080", target)
	}
	p := &Pool{host: address.Host, open: map[net.Conn]struct{}{}}
	if address.Port() == "" {
		p.host = net.JoinHostPort(address.Hostname(), "80")
	}
	for _, source := range sources {
		ip := net.ParseIP(source)
		if ip == nil {
			return nil, fmt.Errorf("source %q is not an IP address", source)
		}
		p.sources = append(p.sources, &net.TCPAddr{IP: ip})
	}
	return p, nil
}

// Get gives a connection, which need not be connected yet.
func (p *Pool) Get() *Conn {
	for {
		c := p.lastIdle()
		if c == nil {
			return &Conn{pool: p}
		}
		if time.Since(c.kept) < idleMax {
			return c
		}
		c.Close()
	}
}

func (p *Pool) lastIdle() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

// Put takes back a connection whose last answer was read to its end.
func (p *Pool) Put(c *Conn) {
	if c.tcp == nil {
		return
	}
	c.kept = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

func (p *Pool) dial() (net.Conn, error) {
	dialer := net.Dialer{Timeout: requestTimeout, KeepAlive: -1} // probing costs system calls, and nothing here idles for long
	if n := p.dials.Add(1); len(p.sources) > 0 {
		dialer.LocalAddr = p.sources[n%uint64(len(p.sources))]
	}
	tcp, err := dialer.DialContext(context.Background(), "tcp", p.host)
	if err != nil {
		return nil, unconnected(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		_ = tcp.Close()
		return nil, faultf("transport", "connecting: the run is over")
	}
	p.open[tcp] = struct{}{}
	return tcp, nil
}

// unconnected tells what the generator lacks from what the target does.
func unconnected(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		return faultf("generator", "connecting: %w: raise ulimit -n, or give another --source", err)
	}
	return faultf("transport", "connecting: %w", err)
}

func (p *Pool) forget(tcp net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, tcp)
}

// Close closes every connection, those in use too: whoever waits on one gets an error. No new ones are made.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for tcp := range p.open {
		_ = tcp.Close()
	}
}
