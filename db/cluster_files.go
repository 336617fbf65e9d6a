package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longestDir leaves room for "/.s.PGSQL.5432" in a socket address of macOS,
// 103 bytes; Linux has 107.
const longestDir = 89

var errLocked = errors.New("locked by another process")

// tryLock opens and locks a file, or returns errLocked at once. Closing the
// file, or the end of the process, unlocks it. It follows no link: we may be
// root, and the directory is the user postgres's.
func tryLock(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// retry calls try until it does not ask for more, and returns its last error
// when wait is over.
func retry(ctx context.Context, wait time.Duration, try func() (again bool, err error)) error {
	for deadline := time.Now().Add(wait); ; {
		again, err := try()
		if !again || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// clusterUser is who the server runs as: the user postgres under root, which
// PostgreSQL refuses, else ourselves, without a credential.
type clusterUser struct {
	uid, gid   int
	credential *syscall.Credential
}

func findClusterUser() (clusterUser, error) {
	if os.Geteuid() != 0 {
		return clusterUser{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		return clusterUser{}, errors.New("under root PostgreSQL runs as the user postgres, which does not exist here: run `useradd --system postgres`")
	}
	uid, err1 := strconv.ParseUint(found.Uid, 10, 31)
	gid, err2 := strconv.ParseUint(found.Gid, 10, 31)
	return clusterUser{int(uid), int(gid), &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, errors.Join(err1, err2)
}

// prepareDir makes the directory, or takes over an empty one. It is closed to
// others, for whoever gets at the socket is in: there are no passwords.
func (c *Cluster) prepareDir() error {
	if len(c.dir) > longestDir || strings.Contains(c.dir, ",") {
		return fmt.Errorf("the data directory %s cannot hold a socket: its path must have at most %d bytes and no comma", c.dir, longestDir)
	}
	if err := c.checkReach(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("the data directory cannot be used: %w", err)
	}
	// The sandbox's books are there first where the shop ran on another database before.
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() && e.Name() == "sandbox" })
	if _, err := os.Lstat(c.lockFile()); len(entries) > 0 && err != nil {
		return fmt.Errorf("the data directory %s holds other files: give frenchpress one of its own", c.dir)
	}
	return errors.Join(os.Chmod(c.dir, 0o700), os.Chown(c.dir, c.user.uid, c.user.gid))
}

// checkReach refuses a place that root can enter and the user postgres cannot,
// such as root's home.
func (c *Cluster) checkReach() error {
	for dir := filepath.Dir(c.dir); c.user.credential != nil && dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		owned := info.Sys().(*syscall.Stat_t).Uid == c.user.credential.Uid
		if !owned && info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("the user postgres may not enter %s: choose a data directory elsewhere, such as /var/lib/frenchpress", dir)
		}
	}
	return nil
}

// initialise makes the data directory under another name first, so that it is
// there whole or not at all.
func (c *Cluster) initialise(ctx context.Context) error {
	if _, err := os.Stat(c.dataDir()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	abandoned, err := filepath.Glob(c.dataDir() + ".new-*")
	if err != nil {
		return err
	}
	for _, dir := range abandoned {
		os.RemoveAll(dir)
	}
	made, err := os.MkdirTemp(c.dir, filepath.Base(c.dataDir())+".new-")
	if err != nil {
		return err
	}
	if err := os.Chown(made, c.user.uid, c.user.gid); err != nil {
		return err
	}
	if err := c.initdb(ctx, made); err != nil {
		os.RemoveAll(made)
		return err
	}
	if err := os.Rename(made, c.dataDir()); err != nil {
		return err
	}
	return syncDir(c.dir)
}

// syncDir makes a rename survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// stopLeftover ends the server of a process that died. Linux has told it to
// stop already, other systems have not.
func (c *Cluster) stopLeftover(ctx context.Context) error {
	signal := syscall.SIGINT // fast: a clean shutdown
	began := time.Now()
	return retry(ctx, 2*stopWait, func() (bool, error) {
		pid, alive := c.postmaster()
		if !alive {
			return false, nil
		}
		if time.Since(began) > stopWait {
			signal = syscall.SIGQUIT // immediate: the next start recovers
		}
		err := syscall.Kill(pid, signal)
		return true, errors.Join(fmt.Errorf("the PostgreSQL left over in %s (process %d) does not stop", c.dir, pid), err)
	})
}

// postmaster returns the process that postmaster.pid names, and whether that
// is a server of this directory or merely the number's next bearer.
func (c *Cluster) postmaster() (pid int, alive bool) {
	text, err := os.ReadFile(filepath.Join(c.dataDir(), "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil || pid <= 1 {
		return 0, false
	}
	return pid, strings.Contains(commandLine(pid), c.dataDir())
}
