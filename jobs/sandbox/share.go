package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// takeOverFor is how long a request waits for somebody to hold the books.
	takeOverFor = 2 * time.Second
	takeOverTry = 20 * time.Millisecond
	// socketMax is how long the path of a unix socket may be: 107 bytes on Linux, 103 on macOS.
	socketMax = 103
	// farewell is how long requests under way have when the holder closes.
	farewell = takeOverFor / 2
)

// errNobody says that nobody answers at the socket: no request has left.
var errNobody = errors.New("nobody holds the sandbox's books")

// Share shares the sandbox in a directory among the processes of one machine. Whoever finds its books unlocked
// opens them and serves the others over a unix socket; when it dies, the next request of another opens them
// again. Requests may name any host.
func Share(dir string, log *slog.Logger) (http.RoundTripper, io.Closer, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("share the sandbox: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("share the sandbox: %w", err)
	}
	socket, err := socketPath(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("share the sandbox: %w", err)
	}
	s := &share{dir: dir, socket: socket, options: Options{Log: log}}
	s.toHolder = &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true}
	err = s.takeOver()
	if err != nil && !errors.Is(err, ErrInUse) {
		return nil, nil, err
	}
	return s, s, nil
}

// socketPath is the socket in a directory, or a short one of this user's if that is too long.
func socketPath(dir string) (string, error) {
	if path := filepath.Join(dir, "sock"); len(path) <= socketMax {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dir))
	own := filepath.Join(os.TempDir(), "frenchpress-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(own)
	if err != nil {
		return "", err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(stat.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is somebody else's", own)
	}
	path := filepath.Join(own, hex.EncodeToString(sum[:8])+".sock")
	if len(path) > socketMax {
		return "", fmt.Errorf("%s and %s are both too long for a unix socket", dir, path)
	}
	return path, nil
}

// share is one process's way to the sandbox.
type share struct {
	dir, socket string
	options     Options
	toHolder    *http.Transport

	mu     sync.Mutex
	held   *holder       // nil while another process holds the books
	taking chan struct{} // closed when the try under way is over
	failed error         // of the last try
	tried  time.Time     // when that was over
	closed bool
	others sync.WaitGroup // who open books or give them up
}

// holder has the books open, and serves them.
type holder struct {
	sandbox  *Sandbox
	server   *http.Server
	listener net.Listener
}

func (s *share) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.socket)
	if err != nil && ctx.Err() == nil {
		return nil, errors.Join(errNobody, err)
	}
	return conn, err
}

// RoundTrip sends a request to whoever holds the books, which may be this process from now on.
func (s *share) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	for patience := time.Now().Add(takeOverFor); ; {
		held, closed := s.holder()
		if closed {
			return nil, s.refusal(errClosed)
		}
		if held != nil {
			return held.sandbox.direct(r, body)
		}
		response, err := s.toHolder.RoundTrip(withBody(r, body))
		if !errors.Is(err, errNobody) {
			return response, err
		}
		if err := s.waitTakeOver(r.Context(), patience); err != nil {
			return nil, err
		}
	}
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	return body, errors.Join(err, r.Body.Close())
}

func withBody(r *http.Request, body []byte) *http.Request {
	to := *r.URL
	to.Scheme, to.Host = "http", "sandbox"
	r = r.WithContext(r.Context()) // a copy, which shares the headers: whoever asks does not write to them any more
	r.URL = &to
	r.ContentLength = int64(len(body))
	r.Body, r.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
	if len(body) > 0 {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
	}
	return r
}

func (s *share) holder() (held *holder, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.closed
}

// refusal looks like the refused connection that it is.
func (s *share) refusal(why error) error {
	return &net.OpError{
		Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: s.socket, Net: "unix"},
		Err: errors.Join(os.NewSyscallError("connect", syscall.ECONNREFUSED), why),
	}
}

// waitTakeOver waits for one try to open the books, and for a moment if another process was quicker.
func (s *share) waitTakeOver(ctx context.Context, patience time.Time) error {
	s.mu.Lock()
	if s.taking == nil && (s.closed || cannotOpen(s.failed) && time.Since(s.tried) < tryAgainAfter) {
		defer s.mu.Unlock()
		return s.refusal(s.failed)
	}
	if s.taking == nil {
		taking := make(chan struct{})
		s.taking = taking
		s.others.Go(func() { s.try(taking) })
	}
	taking := s.taking
	s.mu.Unlock()
	timer := time.NewTimer(time.Until(patience))
	defer timer.Stop()
	select {
	case <-taking:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	if cannotOpen(err) || !time.Now().Before(patience) {
		return s.refusal(err)
	}
	return nil
}

// cannotOpen says whether books could not be opened for another reason than that somebody else has them open.
func cannotOpen(err error) bool { return err != nil && !errors.Is(err, ErrInUse) }

func (s *share) try(done chan struct{}) {
	err := s.takeOver()
	if errors.Is(err, ErrInUse) {
		time.Sleep(takeOverTry) // whoever has the lock opens the books now
	}
	s.mu.Lock()
	s.failed, s.tried, s.taking = err, time.Now(), nil
	s.mu.Unlock()
	close(done)
}

// takeOver opens the books, if nobody has them, and serves them.
func (s *share) takeOver() error {
	sandbox, err := Open(s.dir, s.options)
	if err != nil {
		return err
	}
	held, err := serveSocket(sandbox, s.socket)
	if err != nil {
		return errors.Join(err, sandbox.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(errClosed, held.close())
	}
	s.held = held
	s.others.Go(func() { s.dropBroken(held) })
	return nil
}

// dropBroken gives books up that could not be written and can be again: the next request opens them.
func (s *share) dropBroken(held *holder) {
	select {
	case <-held.sandbox.closing:
		return
	case <-held.sandbox.books.mended:
	}
	s.mu.Lock()
	ours := s.held == held
	if ours {
		s.held = nil
	}
	s.mu.Unlock()
	if !ours {
		return
	}
	held.sandbox.log.Warn("the sandbox's books can be written again; they are opened anew")
	if err := held.close(); err != nil {
		held.sandbox.log.Error("the sandbox's books did not close well", slog.Any("error", err))
	}
}

// Close gives the books to whoever asks next, if this process holds them.
func (s *share) Close() error {
	s.mu.Lock()
	held := s.held
	s.held, s.closed = nil, true
	s.mu.Unlock()
	s.toHolder.CloseIdleConnections()
	var err error
	if held != nil {
		err = held.close()
	}
	s.others.Wait()
	return err
}

// close lets requests under way end, then gives the lock back: the socket is gone before that, so it is never the
// next one's that is removed.
func (h *holder) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.server.Close() // only calls that hang are left
	}
	if closed := h.listener.Close(); !errors.Is(closed, net.ErrClosed) { // the server does not know it before it serves
		err = errors.Join(err, closed)
	}
	return errors.Join(err, h.sandbox.Close())
}
