package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// removalPatience bounds how long a toxic may take to leave its connections.
const removalPatience = 10 * time.Second

// link is a piece of network that can be made bad.
type link struct{ proxy *toxiproxy.Proxy }

// openLink begins to pass on what comes to a free port.
func openLink(name, upstream string) (*link, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)
	return &link{proxy}, proxy.Start()
}

func (l *link) port() string {
	_, port, _ := net.SplitHostPort(l.proxy.Listen)
	return port
}

// toxics are what can be done to both directions of a link.
var toxics = map[string]string{
	"latency":    `{"type": "latency", "attributes": {"latency": 200, "jitter": 150}}`,
	"reset":      `{"type": "reset_peer", "attributes": {"timeout": 0}}`,
	"black hole": `{"type": "timeout", "attributes": {"timeout": 0}}`, // and cut at its end
}

// spoil makes the link bad for a while.
func (l *link) spoil(ctx context.Context, toxic string, how time.Duration) error {
	for _, direction := range []string{"upstream", "downstream"} {
		wish := strings.Replace(toxics[toxic], "{", fmt.Sprintf(`{"name": %q, "stream": %q, `, direction, direction), 1)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(wish)); err != nil {
			return fmt.Errorf("%s: %w", toxic, err)
		}
	}
	err := pause(ctx, how)
	l.heal()
	return err
}

func (l *link) heal() {
	ctx, cancel := context.WithTimeout(context.Background(), removalPatience)
	defer cancel()
	l.proxy.Toxics.ResetToxics(ctx)
}

func (l *link) close() {
	if l != nil {
		l.proxy.Stop()
	}
}
