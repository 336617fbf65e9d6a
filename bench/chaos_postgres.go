package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	postgresPatience = 90 * time.Second // recovery included
	askPatience      = 10 * time.Second // one statement of ours
)

// postgres is a private server, a child of ours, that listens on a port of the loopback so that a proxy can stand
// before it.
type postgres struct {
	bin, data, port string
	log             *os.File
	owner           *syscall.Credential // set when we are root, whom PostgreSQL refuses
	process         *child
}

// openPostgres makes a cluster under a directory and starts it.
func openPostgres(ctx context.Context, directory string, log *os.File) (*postgres, error) {
	p := &postgres{data: filepath.Join(directory, "postgres"), log: log}
	var err error
	if p.bin, err = postgresBin(); err != nil {
		return nil, err
	}
	if p.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	if err := p.own(); err != nil {
		return nil, err
	}
	making := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "--pgdata", p.data, "--username", "frenchpress", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-instructions")
	making.SysProcAttr, making.Dir = p.attributes(), "/"
	if said, err := making.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, said)
	}
	if err := p.start(ctx); err != nil {
		return p, err
	}
	conn, err := pgx.Connect(ctx, p.urlOf("postgres", p.port))
	if err != nil {
		return p, err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `create database frenchpress`)
	return p, err
}

// postgresBin is the directory of the newest server installed, else of the one in PATH; PG_BIN, when set, is the only one.
func postgresBin() (string, error) {
	if bin := os.Getenv("PG_BIN"); bin != "" {
		return bin, nil
	}
	newest, major := "", 0
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern) // fails for a bad pattern only
		for _, bin := range found {
			digits := strings.TrimLeft(strings.TrimSuffix(bin, "/bin"), "/abcdefghijklmnopqrstuvwxyz-@")
			if n, err := strconv.Atoi(digits); err == nil && n > major {
				newest, major = bin, n
			}
		}
	}
	if newest != "" {
		return newest, nil
	}
	server, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL server is installed: %w", err)
	}
	return filepath.Dir(server), nil
}

// own makes the data directory, for root that of the user postgres.
func (p *postgres) own() error {
	if err := os.Mkdir(p.data, 0o700); err != nil || os.Geteuid() != 0 {
		return err
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(p.data, int(uid), int(gid))
}

func (p *postgres) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: p.owner}
}

// urlOf is where a database is found by way of a port: the server's own or a proxy's.
func (p *postgres) urlOf(database, port string) string {
	return "postgres://frenchpress@127.0.0.1:" + port + "/" + database + "?sslmode=disable"
}

// start starts the server and waits until it answers. A server that was killed may leave processes that hold its
// memory for a moment, so it is tried again.
func (p *postgres) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	for {
		command := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(p.bin, "postgres"), "-D", p.data, "-p", p.port,
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=on", "-c", "synchronous_commit=on",
			"-c", "full_page_writes=on", "-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "jit=off", "-c", "timezone=UTC")
		command.SysProcAttr, command.Dir = p.attributes(), "/"
		var err error
		if p.process, err = startChild(command, p.log); err != nil {
			return err
		}
		for !p.process.ended() {
			if p.answers(ctx) {
				return nil
			}
			if err := pause(ctx, readyEvery); err != nil {
				return fmt.Errorf("PostgreSQL does not answer: %w", err)
			}
		}
		if err := pause(ctx, readyEvery); err != nil {
			return fmt.Errorf("PostgreSQL does not start: %w", err)
		}
	}
}

func (p *postgres) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.urlOf("postgres", p.port))
	if err != nil {
		return false
	}
	return conn.Close(ctx) == nil
}

// kill kills the server with all its processes.
func (p *postgres) kill() error {
	children := p.process.children()
	if err := p.process.kill(); err != nil {
		return err
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// stopAtOnce does what pg_ctl stop -m immediate does: no checkpoint, and recovery at the next start.
func (p *postgres) stopAtOnce() error { return p.process.end(syscall.SIGQUIT) }

// stall stops every process of the server for a while.
func (p *postgres) stall(ctx context.Context, how time.Duration) error {
	stopped := p.process.signalTree(syscall.SIGSTOP)
	return errors.Join(stopped, pause(ctx, how), p.process.signalTree(syscall.SIGCONT))
}

func (p *postgres) close() error {
	if p == nil || p.process == nil {
		return nil
	}
	return p.process.end(syscall.SIGINT)
}

// ask runs something on a connection of our own, that no proxy is in the way of.
func (p *postgres) ask(ctx context.Context, most time.Duration, run func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.urlOf("frenchpress", p.port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return run(ctx, conn)
}

// cutListeners ends the connections on which processes hear of changes that others made, and says how many there were.
func (p *postgres) cutListeners(ctx context.Context) (cut int, err error) {
	err = p.ask(ctx, askPatience, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
    select count(pg_terminate_backend(pid))
    from pg_stat_activity
    where query ilike 'listen %' and pid <> pg_backend_pid()`).Scan(&cut)
	})
	return cut, err
}

// poisons are jobs that no worker can do. Each carries a mark, so that nobody waits for its end.
var poisons = []struct{ kind, queue, args string }{
	{"charge", "charge", `{"orders": "all of them"}`},
	{"charge", "charge", `{"orders": [{"store_id": "one", "id": 2}]}`},
	{"settle", "settle", `{"id": "not an id"}`},
	{"settle", "settle", `{}`},
	{"refund", "settle", `[]`},
	{"no_such_kind", "settle", `{}`},
	{"no_such_kind", "notify", `{}`},
}

// poison puts one of each into the queues.
func (p *postgres) poison(ctx context.Context) error {
	return p.ask(ctx, askPatience, func(ctx context.Context, conn *pgx.Conn) error {
		batch := &pgx.Batch{}
		for _, job := range poisons {
			batch.Queue(`
    insert into river_job (kind, queue, args, max_attempts, metadata)
    values ($1, $2, $3::jsonb, 3, '{"poison": true}')`, job.kind, job.queue, job.args)
		}
		return conn.SendBatch(ctx, batch).Close()
	})
}
