package db

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

const oldestPostgres = 15

// clusterSettings stand on the command line, where no file and no ALTER SYSTEM
// overrides them. They suit a small machine that is shared with the program.
var clusterSettings = []string{
	"listen_addresses=", // the socket is the only way in
	"unix_socket_permissions=0700",
	"fsync=on", // an answer given is an order kept, whatever dies
	"synchronous_commit=on",
	"full_page_writes=on",
	"max_connections=100",
	"shared_buffers=256MB",              // the open orders and their indexes; history may be read from disk
	"max_wal_size=2GB",                  // a rush must not checkpoint all the time, and recovery must end within startWait
	"random_page_cost=1.1",              // no disk seeks any more
	"jit=off",                           // no statement here runs long enough to earn its compilation
	"max_parallel_workers_per_gather=0", // two cores have better to do, and containers are short of /dev/shm
	"autovacuum_naptime=15s",            // finished jobs leave dead rows at the rate of orders
	"autovacuum_vacuum_cost_delay=10ms", // and a rush is not to notice who picks them up: a tenth of a core, for longer
	"default_statistics_target=20",      // rows are found by key: with 100, reading samples takes half a core for 2 of 15 s
	"timezone=UTC",
	"log_timezone=UTC",
	"log_line_prefix=",            // time and source are added where the lines go
	"log_error_verbosity=terse",   // details quote rows, and rows are people
	"log_min_error_statement=log", // clients report their own failed statements
}

// installation is a PostgreSQL with server programs.
type installation struct {
	bin   string
	major int
}

// findPostgres picks the newest installation, or for existing data the newest
// of the version that wrote it.
func findPostgres(ctx context.Context, dataDir string) (installation, error) {
	var found []installation
	for _, bin := range postgresDirs() {
		if major := postgresMajor(ctx, bin); major > 0 {
			found = append(found, installation{bin, major})
		}
	}
	if len(found) == 0 {
		return installation{}, errors.New("no PostgreSQL server is installed: " + installHint())
	}
	slices.SortStableFunc(found, func(a, b installation) int { return cmp.Compare(b.major, a.major) })
	newest := found[0]
	if newest.major < oldestPostgres {
		return installation{}, fmt.Errorf("PostgreSQL %d in %s is older than %d: %s", newest.major, newest.bin, oldestPostgres, installHint())
	}
	text, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return newest, nil
	}
	wrote := strings.TrimSpace(string(text))
	for _, one := range found {
		if strconv.Itoa(one.major) == wrote {
			return one, nil
		}
	}
	return installation{}, fmt.Errorf("the data in %s needs PostgreSQL %s, but %d is installed: install version %[2]s too, or move the data with pg_upgrade",
		dataDir, wrote, newest.major)
}

// postgresDirs lists where servers may be; PG_BIN, when set, is the only one.
func postgresDirs() []string {
	if bin := os.Getenv("PG_BIN"); bin != "" {
		return []string{bin}
	}
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
	} {
		matches, _ := filepath.Glob(pattern) // fails for a bad pattern only
		dirs = append(dirs, matches...)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

var postgresVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// postgresMajor returns 0 where there is no complete server.
func postgresMajor(ctx context.Context, bin string) int {
	if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
		return 0
	}
	said, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	match := postgresVersion.FindSubmatch(said)
	if err != nil || match == nil {
		return 0
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return major
}

func installHint() string {
	if runtime.GOOS == "darwin" {
		return "run `brew install postgresql@17`, or set DATABASE_URL"
	}
	return "run `apt-get install postgresql` (Debian, Ubuntu) or `dnf install postgresql-server` (Fedora), or set DATABASE_URL"
}

// initdb makes a cluster that sorts by bytes, which no upgrade of the system's
// libraries can change under an index, and still knows its letters.
func (c *Cluster) initdb(ctx context.Context, dir string) error {
	letters := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		letters = "UTF-8"
	}
	cmd := c.command(ctx, "initdb", "--pgdata="+dir, "--username=frenchpress", "--data-checksums",
		"--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--lc-ctype="+letters)
	if slices.Contains(c.settings, "fsync=off") {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w: %s", c.dir, err, bytes.TrimSpace(said))
	}
	return nil
}

// run starts the server and waits for its end, which that of ctx brings about.
func (c *Cluster) run(ctx context.Context) error {
	args := []string{"-D", c.dataDir()}
	for _, setting := range slices.Concat(clusterSettings, []string{"unix_socket_directories=" + c.dir}, c.settings) {
		args = append(args, "-c", setting)
	}
	cmd := c.command(ctx, "postgres", args...)
	c.said.grave.Store(nil)
	cmd.Stderr = &c.said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = stopWait
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is ours to hear
	endWithParent(cmd.SysProcAttr)
	if pid, alive := c.postmaster(); pid > 0 && !alive {
		// The server takes any living process in postmaster.pid for another
		// server, except the one named here (pg_ctl's way to name its shell).
		cmd.Env = append(cmd.Env, "PG_GRANDPARENT_PID="+strconv.Itoa(pid))
	}
	return cmd.Run()
}

// command has nothing of our environment, for PG… variables and locales in it
// change what the programs do.
func (c *Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.postgres.bin, program), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user.credential}
	return cmd
}

// serverLog passes the server's log on, and remembers its last grave line.
type serverLog struct {
	part  []byte
	grave atomic.Pointer[string]
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found && len(l.part) < 64<<10 {
			return len(p), nil
		}
		l.part = rest
		l.line(string(line))
	}
}

func (l *serverLog) line(line string) {
	level := slog.LevelDebug // what clients are told as well, and the daily round
	severity, text, found := strings.Cut(line, ":  ")
	if !found {
		severity, text = "", strings.TrimSpace(line)
	}
	switch severity {
	case "PANIC", "FATAL":
		l.grave.Store(&text)
	case "WARNING":
		level = slog.LevelWarn
	case "LOG":
		if strings.Contains(text, "was terminated by signal") {
			level = slog.LevelWarn
		}
	}
	slog.Log(context.Background(), level, "PostgreSQL: "+text, "severity", severity)
}

// complaint adds to err what the server last found fatal.
func (l *serverLog) complaint(err error) error {
	if text := l.grave.Load(); text != nil {
		return fmt.Errorf("%w (its last words: %s)", err, *text)
	}
	return err
}
