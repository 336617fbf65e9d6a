package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"
)

const (
	// expireAfter is short, so that orders which nobody pays for end within a run.
	expireAfter = 25 * time.Second
	// recoverPatience is how long a process may take to serve again once whatever was broken is whole.
	recoverPatience = 60 * time.Second
)

// counter is one process of the shop with the network before it.
type counter struct {
	chaos   *chaos
	name    string
	port    string
	log     *os.File
	process *child
	link    *link
	pool    *Pool
}

// openCounter starts a process of the shop.
func (c *chaos) openCounter(ctx context.Context, name, port string) (*counter, error) {
	log, err := os.Create(filepath.Join(c.root, name+".log"))
	if err != nil {
		return nil, err
	}
	s := &counter{chaos: c, name: name, port: port, log: log}
	if s.link, err = openLink(name, "127.0.0.1:"+port); err != nil {
		return s, err
	}
	if s.pool, err = NewPool("http://127.0.0.1:"+s.link.port(), nil); err != nil {
		return s, err
	}
	if err := s.start(); err != nil {
		return s, err
	}
	return s, s.awaitReady(ctx)
}

// start starts the process, with further settings if there are any.
func (s *counter) start(more ...string) error {
	command := exec.CommandContext(context.Background(), s.chaos.program) // it ends when told to
	command.Env = append(s.chaos.environment(s.port), more...)
	var err error
	s.process, err = startChild(command, s.log)
	return err
}

func (c *chaos) environment(port string) []string {
	return shopEnvironment(append(c.provider.settings(), "PORT="+port, "DATABASE_URL="+c.database, "EXPIRE_AFTER="+expireAfter.String())...)
}

// awaitReady asks past the proxy.
func (s *counter) awaitReady(ctx context.Context) error {
	if err := s.process.awaitReady(ctx, s.port, s.log, recoverPatience); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s *counter) close() error {
	if s == nil {
		return nil
	}
	err := s.process.end(syscall.SIGTERM)
	if s.pool != nil {
		s.pool.Close()
	}
	s.link.close()
	return errors.Join(err, s.log.Close())
}

// furnish fills in the stores and pairs their boards.
func (c *chaos) furnish(ctx context.Context) error {
	devices := filepath.Join(c.root, "devices")
	if _, err := c.tool(ctx, "seed", "--stores", strconv.Itoa(c.Stores)); err != nil {
		return err
	}
	lines, err := c.tool(ctx, "pair", "--all")
	if err != nil {
		return err
	}
	if err := os.WriteFile(devices, lines, 0o600); err != nil {
		return err
	}
	if c.stores, err = readStores(devices, c.Stores); err != nil {
		return err
	}
	token, err := c.tool(ctx, "staff", "add", "chaos")
	if err != nil {
		return err
	}
	c.admin = strings.TrimSpace(string(token))
	return c.awaitStores(ctx)
}

// awaitStores waits until the first process sells in every store: it has up to a second to notice them.
func (c *chaos) awaitStores(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	for _, store := range c.stores {
		for status := 0; status != http.StatusOK; {
			err := c.insist(ctx, func(conn *Conn) {
				conn.Request("GET", "/v1/stores/", store.Slug, "/menu")
				conn.NoBody()
			}, func(conn *Conn) error {
				status = conn.Status()
				return nil
			})
			if err == nil && status != http.StatusOK {
				err = pause(ctx, readyEvery)
			}
			if err != nil {
				return fmt.Errorf("the menu of %s: status %d: %w", store.Slug, status, err)
			}
		}
	}
	return nil
}

// comparedBehind is how far before now the shop's comparison ends at least: two minutes are left to what is under way.
const comparedBehind = 130 * time.Second

// reconcile has the shop compare the provider's books with its own, and gives the differences.
func (c *chaos) reconcile(ctx context.Context) (found []string, err error) {
	asked := time.Now()
	err = c.insist(ctx, func(conn *Conn) {
		conn.Request("POST", "/v1/payments/reconcile")
		conn.Header("Authorization", "Bearer ", c.admin)
		conn.Body()
	}, func(conn *Conn) error {
		if conn.Status() != http.StatusOK {
			return conn.refused("reconciling")
		}
		found = nil
		gjson.GetBytes(conn.Answer(), "differences").ForEach(func(_, one gjson.Result) bool {
			found = append(found, one.Raw)
			return true
		})
		if done := gjson.GetBytes(conn.Answer(), "done_until").Time(); done.Before(asked.Add(-comparedBehind)) {
			found = append(found, "the books were compared until "+done.Format(time.RFC3339)+" alone")
		}
		return nil
	})
	return found, err
}

// tool runs a short command of the program.
func (c *chaos) tool(ctx context.Context, arguments ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	command := childCommand(ctx, c.program, arguments...)
	command.Env = c.environment("0")
	out, err := command.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil, fmt.Errorf("%v: %w: %s", arguments, err, exit.Stderr)
	}
	return out, err
}
