package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startPatience = 2 * time.Minute // a first start makes the database
	seedPatience  = 10 * time.Minute
	readyEvery    = 50 * time.Millisecond
)

// server is the program under test on a database of its own, which goes when the suite ends.
type server struct {
	program string
	root    string // directory of everything
	port    string
	log     *os.File
	process *child   // nil while it is stopped
	setting []string // what it was started with, besides the usual
}

// openServer makes a database, fills in the stores and pairs their boards.
func openServer(ctx context.Context, program string, stores int) (*server, error) {
	root, err := os.MkdirTemp("/var/tmp", "frenchpress-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{program: program, root: root}
	if err := s.prepare(ctx, stores); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) prepare(ctx context.Context, stores int) error {
	// A PostgreSQL that was started by root runs as another user, who must be able to pass.
	if err := os.Chmod(s.root, 0o755); err != nil {
		return err
	}
	var err error
	if s.log, err = os.Create(filepath.Join(s.root, "log")); err != nil {
		return err
	}
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.seed(ctx, "", "--stores", strconv.Itoa(stores)); err != nil {
		return err
	}
	lines, err := s.tool(ctx, "", "pair", "--all")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.devices(), lines, 0o600); err != nil {
		return err
	}
	return s.restart(ctx) // so that nothing waits for the new stores to be noticed
}

func (s *server) directory() string { return filepath.Join(s.root, "data") }
func (s *server) devices() string   { return filepath.Join(s.root, "devices") }
func (s *server) target() string    { return "http://127.0.0.1:" + s.port }

// database is where a database of the shop's PostgreSQL is found.
func (s *server) database(name string) string {
	query := url.Values{"host": {s.directory()}, "port": {"5432"}, "user": {"frenchpress"}}
	return "postgres:///" + name + "?" + query.Encode()
}

func freePort(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func (s *server) environment(databaseURL string, setting ...string) []string {
	usual := []string{"PORT=" + s.port, "DATA_DIR=" + s.directory(), "DATABASE_URL=" + databaseURL}
	return shopEnvironment(append(usual, setting...)...)
}

// start begins to serve and returns when the shop is ready, on a database that keeps its word.
func (s *server) start(ctx context.Context, setting ...string) (err error) {
	command := exec.CommandContext(context.WithoutCancel(ctx), s.program) // it ends when told to
	command.Env, s.setting = s.environment("", setting...), setting
	if s.process, err = startChild(command, s.log); err != nil {
		return err
	}
	if err := s.process.awaitReady(ctx, s.port, s.log, startPatience); err != nil {
		return err
	}
	return checkDurability(ctx, s.database("frenchpress"))
}

// stop ends the server and its PostgreSQL in order, by force if that takes too long.
func (s *server) stop() error {
	err := s.process.end(syscall.SIGTERM)
	s.process = nil
	return err
}

// restart begins anew on the same database, with other settings.
func (s *server) restart(ctx context.Context, setting ...string) error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.start(ctx, setting...)
}

func (s *server) close() error {
	err := s.stop()
	if s.log != nil {
		s.log.Close()
	}
	return errors.Join(err, os.RemoveAll(s.root))
}

// pids names the processes to account for.
func (s *server) pids() ([]string, error) {
	raw, err := os.ReadFile(filepath.Join(s.directory(), "postgres", "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	postgres, _, _ := strings.Cut(string(raw), "\n")
	return []string{"--pid", fmt.Sprintf("server=%d", s.process.pid()), "--pid", "postgres=" + postgres}, nil
}

// tool runs a short command of the program while it serves.
func (s *server) tool(ctx context.Context, databaseURL string, arguments ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, seedPatience)
	defer cancel()
	command := childCommand(ctx, s.program, arguments...)
	command.Env, command.Stderr = s.environment(databaseURL), s.log
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, lastWordsOf(s.log))
	}
	return out, err
}

func (s *server) seed(ctx context.Context, databaseURL string, arguments ...string) error {
	_, err := s.tool(ctx, databaseURL, append([]string{"seed"}, arguments...)...)
	return err
}

// awaitPort waits until somebody listens.
func awaitPort(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens at %s: %w", address, ctx.Err())
		case <-time.After(readyEvery):
		}
	}
}

// connect opens a connection to the shop's PostgreSQL.
func (s *server) connect(ctx context.Context, name string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, s.database(name))
}
