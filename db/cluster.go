package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	lockWait  = 10 * time.Second // for whoever holds the data directory to leave
	startWait = time.Minute      // covers crash recovery of all the WAL that max_wal_size allows
	guestWait = 5 * time.Second  // for commands that still use a cluster about to stop
	stopWait  = 10 * time.Second // for a fast shutdown; then the server is killed

	startAttempts       = 5 // failures of the server before its start is given up
	firstRestartPause   = 100 * time.Millisecond
	longestRestartPause = 5 * time.Second
)

// Cluster is a private PostgreSQL in a directory of its own, reached over a
// unix socket by the user who owns it and nobody else. The process that starts
// it keeps it alive until Stop: a server that dies is started again, and when
// this process dies the server goes with it.
type Cluster struct {
	URL string // as pgxpool.ParseConfig takes it

	dir      string
	user     clusterUser
	postgres installation
	settings []string
	said     serverLog
	failures atomic.Int32

	owned  *os.File // the lock on dir; nil in a guest
	guests *os.File // locked shared by guests, and exclusively by the owner to stop
	cancel context.CancelFunc
	done   chan struct{}
}

// StartCluster starts the cluster of dir, made on first use, and returns when
// it takes connections. While another process holds dir it waits, at most 10
// seconds. Further settings ("name=value") win over the cluster's own. ctx
// bounds the start, not the life.
func StartCluster(ctx context.Context, dir string, settings ...string) (*Cluster, error) {
	c, err := newCluster(ctx, dir, settings)
	if err != nil {
		return nil, err
	}
	if err := retry(ctx, lockWait, c.own); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// OpenCluster is for short commands: it uses the cluster that another process
// has running in dir, and starts it where there is none. Its owner does not
// stop a cluster in use like this for 5 seconds.
func OpenCluster(ctx context.Context, dir string) (*Cluster, error) {
	c, err := newCluster(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	err = retry(ctx, startWait, func() (bool, error) {
		if again, err := c.own(); !again {
			return false, err
		}
		return c.join(ctx)
	})
	if err != nil {
		return nil, err
	}
	if c.owned != nil {
		if err := c.start(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Stop ends the server, or the use of somebody else's. It returns when the
// server is down or ctx is done, whichever comes first. Calls must not overlap.
func (c *Cluster) Stop(ctx context.Context) {
	if c.owned != nil {
		c.waitForGuests(ctx)
		c.cancel()
		select {
		case <-c.done:
		case <-ctx.Done():
			return
		}
	}
	c.release()
}

func newCluster(ctx context.Context, dir string, settings []string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, settings: settings, done: make(chan struct{})}
	c.URL = c.database("frenchpress")
	if c.postgres, err = findPostgres(ctx, c.dataDir()); err != nil {
		return nil, err
	}
	if c.user, err = findClusterUser(); err != nil {
		return nil, err
	}
	if err := c.prepareDir(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) dataDir() string    { return filepath.Join(c.dir, "postgres") }
func (c *Cluster) lockFile() string   { return filepath.Join(c.dir, "lock") }
func (c *Cluster) guestsFile() string { return filepath.Join(c.dir, "guests") }

// database spells out what PG… variables would decide otherwise; PGSERVICE alone has a say.
func (c *Cluster) database(name string) string {
	query := url.Values{"host": {c.dir}, "port": {"5432"}, "user": {"frenchpress"}, "options": {""}, "target_session_attrs": {"any"}}
	return "postgres:///" + name + "?" + query.Encode()
}

func (c *Cluster) own() (again bool, err error) {
	c.owned, err = tryLock(c.lockFile(), syscall.LOCK_EX)
	if errors.Is(err, errLocked) {
		return true, fmt.Errorf("another frenchpress (process %s) holds %s", c.holder(), c.dir)
	}
	return false, err
}

// join uses the cluster that another process owns. With the guests' lock in
// hand the owner is known not to be stopping it.
func (c *Cluster) join(ctx context.Context) (again bool, err error) {
	c.guests, err = tryLock(c.guestsFile(), syscall.LOCK_SH)
	if err == nil {
		if err = c.ping(ctx); err == nil {
			return false, nil
		}
		c.release()
	}
	return true, fmt.Errorf("the PostgreSQL of process %s in %s does not answer: %w", c.holder(), c.dir, err)
}

// start brings the server up with dir owned, and lets go of dir if it fails.
func (c *Cluster) start(ctx context.Context) error {
	err := c.signOwner()
	if err == nil {
		err = c.stopLeftover(ctx)
	}
	if err == nil {
		err = c.initialise(ctx)
	}
	if err != nil {
		c.release()
		return err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	go c.supervise(life)

	if err := c.awaitReady(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stopWait) // neither ctx, which may be over, nor life, which Stop ends
		defer cancel()
		c.Stop(stopping)
		return err
	}
	return nil
}

func (c *Cluster) awaitReady(ctx context.Context) error {
	return retry(ctx, startWait, func() (bool, error) {
		err := c.ensureDatabase(ctx)
		if err == nil {
			return false, nil
		}
		return c.failures.Load() < startAttempts,
			fmt.Errorf("PostgreSQL %d does not start in %s: %w", c.postgres.major, c.dir, c.said.complaint(err))
	})
}

func (c *Cluster) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.database("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	err = conn.QueryRow(ctx, `select exists (select from pg_database where datname = 'frenchpress')`).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, `create database frenchpress`)
	}
	return err
}

func (c *Cluster) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.URL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// supervise keeps the server running until ctx ends. The kernel tells the
// server that its parent died when the thread that started it ends, so this
// goroutine keeps one thread to itself for life.
func (c *Cluster) supervise(ctx context.Context) {
	runtime.LockOSThread()
	defer close(c.done)
	pause := firstRestartPause
	for {
		began := time.Now()
		err := c.run(ctx)
		if ctx.Err() != nil {
			return
		}
		c.failures.Add(1)
		if time.Since(began) > longestRestartPause {
			pause = firstRestartPause
		}
		slog.Error("the private PostgreSQL ended by itself and will be started again",
			"dir", c.dir, "error", c.said.complaint(err), "pause_ms", pause.Milliseconds())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, longestRestartPause)
		}
	}
}

// waitForGuests keeps new guests out once the last one left.
func (c *Cluster) waitForGuests(ctx context.Context) {
	err := retry(ctx, guestWait, func() (again bool, err error) {
		c.guests, err = tryLock(c.guestsFile(), syscall.LOCK_EX)
		return errors.Is(err, errLocked), err
	})
	if err != nil {
		slog.Warn("stopping the private PostgreSQL although it is in use", "dir", c.dir, "error", err)
	}
}

func (c *Cluster) release() {
	for _, lock := range []*os.File{c.guests, c.owned} {
		if lock != nil {
			lock.Close()
		}
	}
	c.guests, c.owned = nil, nil
}

func (c *Cluster) signOwner() error {
	if err := c.owned.Truncate(0); err != nil {
		return err
	}
	_, err := c.owned.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

func (c *Cluster) holder() string {
	pid, err := os.ReadFile(c.lockFile())
	if err != nil || len(pid) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(pid))
}
