package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// writeTimeout is longer than a call can hang.
	writeTimeout = hangMax + stallFor + 10*time.Second
)

// Serve runs the sandbox in a directory as a server of its own until ctx ends, or its books could not be written and can be
// again; processes that share the directory reach it as well. It closes the listener.
func Serve(ctx context.Context, dir string, listener net.Listener, options Options) error {
	defer listener.Close()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("serve the sandbox: %w", err)
	}
	socket, err := socketPath(dir)
	if err != nil {
		return fmt.Errorf("serve the sandbox: %w", err)
	}
	sandbox, err := Open(dir, options)
	if err != nil {
		return err
	}
	shared, err := serveSocket(sandbox, socket)
	if err != nil {
		return errors.Join(err, sandbox.Close())
	}
	sandbox.log.InfoContext(ctx, "the sandbox listens", slog.String("address", listener.Addr().String()), slog.String("dir", dir))
	return serveUntil(ctx, newServer(sandbox), shared, listener)
}

func serveUntil(ctx context.Context, server *http.Server, shared *holder, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
		return errors.Join(fmt.Errorf("serve the sandbox: %w", err), shared.close())
	case <-shared.sandbox.books.mended:
		err = shared.sandbox.books.why() // whoever starts this process again opens them again
	case <-ctx.Done():
	}
	until, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if server.Shutdown(until) != nil {
		err = errors.Join(err, server.Close()) // only calls that hang are left
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, shared.close())
}

// serveSocket serves the processes that share the books; the lock is ours, so a socket that stands there is a dead
// one's.
func serveSocket(sandbox *Sandbox, path string) (*holder, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove an old socket of the sandbox: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for those who share the sandbox: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the sandbox's socket to others: %w", err), listener.Close())
	}
	server := newServer(sandbox)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			sandbox.log.Error("the sandbox no longer serves other processes", slog.Any("error", err))
		}
	}()
	return &holder{sandbox, server, listener}, nil
}

func newServer(sandbox *Sandbox) *http.Server {
	return &http.Server{
		Handler: sandbox, ReadHeaderTimeout: headerTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(sandbox.log.Handler(), slog.LevelDebug),
	}
}
