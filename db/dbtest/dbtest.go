// Package dbtest gives tests a real PostgreSQL. One throwaway cluster serves a
// test binary; it starts when a test first asks for it and ends with the binary.
//
//	func TestMain(m *testing.M) { dbtest.Main(m, migrate) } // makes the schema, by db.Migrate
//
//	func TestPlace(t *testing.T) {
//		t.Parallel()
//		tx := dbtest.Tx(t)         // for what happens in one transaction: the cheapest
//		pool := dbtest.Database(t) // for what commits, or needs several connections
//		url := dbtest.URL(t)       // for programs that connect by themselves
//	}
//
// All of them work in parallel tests, in benchmarks and in fuzz targets. The
// cluster does not survive a crash (fsync is off); it is for truth, not for durability.
package dbtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
)

// settings trade durability for speed, and leave room for parallel tests with
// a pool each.
var settings = []string{
	"fsync=off",
	"synchronous_commit=off",
	"full_page_writes=off",
	"autovacuum=off",
	"checkpoint_timeout=1h",
	"max_wal_size=1GB",
	"max_connections=400",
	"shared_buffers=128MB",
}

const (
	dirPattern   = "frenchpress-test-*"
	abandonedAge = 10 * time.Minute
	poolSize     = 20
	sharedSize   = 100
	mostTests    = 8                // at once, for each may take two pools of connections
	patience     = 10 * time.Second // for a pool to close or a database to go
)

type cluster struct {
	*db.Cluster
	dir    string
	admin  *pgxpool.Pool // beside the template, which must have no connections
	shared func() (*pgxpool.Pool, error)
	clones atomic.Int64
}

var (
	migrate func(context.Context, *pgxpool.Pool) error
	started = sync.OnceValues(start)
	running *cluster
)

// Main runs the tests of a binary, and afterwards ends the cluster if a test
// wanted one. The function given makes the schema, once, in an empty database.
func Main(m *testing.M, schema func(context.Context, *pgxpool.Pool) error) {
	migrate = schema
	defer stop()
	waitTogether()
	m.Run()
}

// waitTogether lets more tests run at once than there are processors, unless
// -parallel says how many: most of what they do is wait for a timer or the database.
func waitTogether() {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		_ = flag.Set("test.parallel", strconv.Itoa(min(2*runtime.GOMAXPROCS(0), mostTests)))
	}
}

// URL makes a database for this test, dropped with its last connection at the
// end, and returns its DATABASE_URL.
func URL(t testing.TB) string {
	t.Helper()
	c, err := started()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	name, err := c.clone(t.Context())
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := c.admin.Exec(ctx, "drop database "+name+" with (force)"); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return c.database(name)
}

// Database makes a database for this test and returns a pool of at most 20
// connections to it, closed at the end. A connection still in use then fails the test.
func Database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := connect(t.Context(), URL(t), poolSize)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(patience):
			t.Error("dbtest: a connection was not given back to the pool")
		}
	})
	return pool
}

// Tx begins a transaction that is rolled back at the end of the test. Its
// database is shared with other tests: what needs the same unique key in two
// of them waits for the first to end.
func Tx(t testing.TB) pgx.Tx {
	t.Helper()
	c, err := started()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	pool, err := c.shared()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := tx.Rollback(context.Background()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("dbtest: roll back: %v", err)
		}
	})
	return tx
}

func start() (*cluster, error) {
	if migrate == nil {
		return nil, errors.New("the package's TestMain must call dbtest.Main")
	}
	ctx := context.Background()
	removeAbandoned(ctx, place())
	dir, err := os.MkdirTemp(place(), dirPattern)
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	running = c
	if c.Cluster, err = db.StartCluster(ctx, dir, settings...); err != nil {
		return nil, err
	}
	if c.admin, err = connect(ctx, c.database("postgres"), 4); err != nil {
		return nil, err
	}
	c.shared = sync.OnceValues(c.share)
	return c, c.makeTemplate(ctx)
}

func (c *cluster) makeTemplate(ctx context.Context) error {
	pool, err := connect(ctx, c.URL, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrate(ctx, pool); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	return nil
}

func (c *cluster) clone(ctx context.Context) (name string, err error) {
	name = fmt.Sprintf("test_%d", c.clones.Add(1))
	_, err = c.admin.Exec(ctx, "create database "+name+" template frenchpress")
	return name, err
}

func (c *cluster) share() (*pgxpool.Pool, error) {
	name, err := c.clone(context.Background())
	if err != nil {
		return nil, err
	}
	return connect(context.Background(), c.database(name), sharedSize)
}

// database is the cluster's URL with another database in it.
func (c *cluster) database(name string) string {
	u, err := url.Parse(c.URL)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + name
	return u.String()
}

func connect(ctx context.Context, url string, size int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = size
	return pgxpool.NewWithConfig(ctx, config)
}

// stop needs not close the pools: the server closes their connections, and the process ends.
func stop() {
	if running == nil {
		return
	}
	if running.Cluster != nil {
		running.Stop(context.Background())
	}
	if err := os.RemoveAll(running.dir); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
	}
}

// place is in memory where there is enough: a clone then takes 15 ms, on disk 70.
// Elsewhere it is not os.TempDir, for the path of a socket must be short.
func place() string {
	const memory, enough = "/dev/shm", 4 << 30 // room for the clusters of a few test binaries
	var stat syscall.Statfs_t
	if err := syscall.Statfs(memory, &stat); err == nil && uint64(stat.Bavail)*uint64(stat.Bsize) > enough {
		return memory
	}
	return "/tmp"
}

// removeAbandoned clears away what test binaries left that were killed or
// panicked. Their servers ended with them.
func removeAbandoned(ctx context.Context, place string) {
	dirs, err := filepath.Glob(filepath.Join(place, dirPattern))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < abandonedAge {
			continue
		}
		server, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, ".s.PGSQL.5432"))
		if err != nil {
			os.RemoveAll(dir) // or not, where it is another user's
			continue
		}
		server.Close()
	}
}

// Becomes waits until a condition holds, at most limit; after that the test fails.
func Becomes(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// Count is how many times a test does what it does: usual, or what a variable of the environment asks for, at least 1.
func Count(t testing.TB, variable string, usual int) int {
	t.Helper()
	text, told := os.LookupEnv(variable)
	if !told {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, not a number from 1", variable, text)
	}
	return n
}
