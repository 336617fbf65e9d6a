package db

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

const childDir = "FRENCHPRESS_TEST_CLUSTER"

// The test binary, started with this set, is a server that holds a cluster
// until it is killed or its standard input ends.
func init() {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	if _, err := StartCluster(context.Background(), dir, "fsync=off"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// clusterDir is short, and outside root's own directories.
func clusterDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "frenchpress-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func startCluster(t *testing.T, dir string, settings ...string) *Cluster {
	t.Helper()
	c, err := StartCluster(t.Context(), dir, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop(context.Background()) })
	return c
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func TestClusterKeepsData(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), clusterDir(t)

	first := startCluster(t, dir)
	if err := execute(ctx, first.URL, `create table cup as select 1 as id`); err != nil {
		t.Fatal(err)
	}
	first.Stop(ctx)
	if err := execute(ctx, first.URL, `select 1`); err == nil {
		t.Error("a stopped cluster answers")
	}

	began := time.Now()
	second := startCluster(t, dir)
	if err := execute(ctx, second.URL, `select id from cup`); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the second start took %s", took)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the socket is %v, %v", info.Mode(), err)
	}
}

// TestClusterHearsNoVariables has the environment of somebody who works with other servers.
func TestClusterHearsNoVariables(t *testing.T) {
	c := startCluster(t, clusterDir(t))
	for name, value := range map[string]string{
		"PGHOST": "db.example.com", "PGPORT": "1", "PGUSER": "eve", "PGDATABASE": "other", "PGPASSWORD": "x", "PGSSLMODE": "require",
		"PGOPTIONS": "-c default_transaction_read_only=on", "PGTARGETSESSIONATTRS": "standby",
	} {
		t.Setenv(name, value)
	}
	if err := execute(t.Context(), c.URL, `create table cup as select 1 as id`); err != nil {
		t.Error(err)
	}
}

func TestClusterSettings(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterDir(t))
	conn, err := pgx.Connect(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, want := range map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "TimeZone": "UTC",
	} {
		var got string
		if err := conn.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
		}
	}
	var sorted, upper bool
	err = conn.QueryRow(t.Context(), `select 'Z' < 'a', upper('é') = 'É'`).Scan(&sorted, &upper)
	if err != nil || !sorted || !upper {
		t.Errorf("sorts by bytes: %t, knows letters: %t (%v)", sorted, upper, err)
	}
}

// A process killed while initdb was at work leaves a directory behind that the
// next start clears away.
func TestClusterStartsAfterBrokenFirstStart(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	abandoned := filepath.Join(dir, "postgres.new-1", "base")
	if err := errors.Join(os.MkdirAll(abandoned, 0o700), os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	startCluster(t, dir, "fsync=off")
	if _, err := os.Stat(abandoned); err == nil {
		t.Error("the abandoned directory is still there")
	}
}

// killOwner has another process start the cluster of dir and write to it, and
// kills that process.
func killOwner(t *testing.T, dir string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	_, err1 := child.StdinPipe()
	out, err2 := child.StdoutPipe()
	if err := errors.Join(err1, err2, child.Start()); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	guest, err := OpenCluster(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(t.Context(), guest.URL, `create table cup as select 1 as id`); err != nil {
		t.Fatal(err)
	}
	guest.Stop(t.Context())
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
}

func TestClusterStartsAfterKillOfProcess(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	killOwner(t, dir)
	began := time.Now()
	c := startCluster(t, dir, "fsync=off")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the start after the kill took %s", took)
	}
	if err := execute(t.Context(), c.URL, `select id from cup`); err != nil {
		t.Error(err)
	}
}

// A server started by somebody who is not its parent any more, as a killed
// process leaves it where the kernel does not tell of a parent's death.
func TestClusterStopsLeftover(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	c := startCluster(t, dir, "fsync=off")
	c.Stop(t.Context())

	left := c.command(t.Context(), "postgres", "-D", c.dataDir(), "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir)
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- left.Wait() }()
	await(t, func() error { return execute(t.Context(), c.URL, `select 1`) })

	startCluster(t, dir, "fsync=off")
	if err := <-ended; err != nil {
		t.Errorf("the leftover server ended with %v", err)
	}
}

func TestClusterComesBackAfterKillOfPostmaster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterDir(t), "fsync=off")
	pool, err := pgxpool.New(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range 2 {
		await(t, func() error { return pool.Ping(t.Context()) })
		pid, alive := c.postmaster()
		if !alive {
			t.Fatal("no postmaster")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, func() error {
			if now, _ := c.postmaster(); now == pid {
				return errors.New("the killed postmaster is still the one")
			}
			return pool.Ping(t.Context())
		})
	}
}

// After a reboot the number in postmaster.pid may be some other program's.
func TestClusterIgnoresReusedPid(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	c := startCluster(t, dir, "fsync=off")
	c.Stop(t.Context())

	other := exec.CommandContext(t.Context(), "sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: c.user.credential}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	stale := fmt.Sprintf("%d\n%s\n1\n5432\n%s\n\n\n", other.Process.Pid, c.dataDir(), dir)
	if err := os.WriteFile(filepath.Join(c.dataDir(), "postmaster.pid"), []byte(stale), 0o644); err != nil {
		t.Fatal(err)
	}
	startCluster(t, dir, "fsync=off")
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program was ended: %v", err)
	}
}

// Commands that race for one new directory all get to work, and whoever
// started the server leaves last.
func TestClusterSharedByCommands(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		group.Go(func() error {
			c, err := OpenCluster(ctx, dir)
			if err != nil {
				return err
			}
			defer c.Stop(ctx)
			return execute(ctx, c.URL, `select pg_sleep(0.2)`)
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestClusterRefusesSecondServer(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	startCluster(t, dir, "fsync=off")
	began := time.Now()
	_, err := StartCluster(t.Context(), dir)
	want := fmt.Sprintf("another frenchpress (process %d) holds %s", os.Getpid(), dir)
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("the refusal took %s", took)
	}
}

func TestClusterTakesOverFromServerThatLeaves(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	first := startCluster(t, dir, "fsync=off")
	stopped := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() {
		first.Stop(context.Background())
		close(stopped)
	})
	second := startCluster(t, dir, "fsync=off")
	<-stopped
	if err := execute(t.Context(), second.URL, `select 1`); err != nil {
		t.Error(err)
	}
}

func TestClusterRefusesDirectory(t *testing.T) {
	t.Parallel()
	used, closed := clusterDir(t), clusterDir(t)
	if err := os.WriteFile(filepath.Join(used, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		filepath.Join(closed, strings.Repeat("long/", 20)): "at most 89 bytes",
		filepath.Join(closed, "a,b"):                       "no comma",
		used:                                               "holds other files",
	}
	if os.Geteuid() == 0 {
		cases[filepath.Join(closed, "data")] = "the user postgres may not enter " + closed
	}
	for dir, want := range cases {
		_, err := StartCluster(t.Context(), dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", dir, err, want)
		}
	}
}

func TestClusterSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := StartCluster(t.Context(), clusterDir(t), "fsync=off", "max_connections=many")
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections"`) {
		t.Errorf("got %v", err)
	}
}

func TestClusterNeedsPostgres(t *testing.T) {
	bin, dir := t.TempDir(), clusterDir(t)
	t.Setenv("PG_BIN", bin)
	_, err := StartCluster(t.Context(), dir)
	if err == nil || !strings.HasPrefix(err.Error(), "no PostgreSQL server is installed: run `") {
		t.Errorf("without programs: %v", err)
	}

	program := "#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n"
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err = StartCluster(t.Context(), dir)
	if err == nil || !strings.HasPrefix(err.Error(), "PostgreSQL 14 in "+bin+" is older than 15: ") {
		t.Errorf("with old programs: %v", err)
	}
}

func TestClusterNeedsPostgresOfItsData(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := findPostgres(t.Context(), data)
	if err == nil || !strings.Contains(err.Error(), "needs PostgreSQL 9, but "+strconv.Itoa(1)) {
		t.Errorf("got %v", err)
	}
}

func await(t *testing.T, try func() error) {
	t.Helper()
	err := retry(t.Context(), 5*time.Second, func() (bool, error) {
		err := try()
		return err != nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
}
