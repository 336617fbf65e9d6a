package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// direct answers a request without a connection. When its context ends first it returns, and the call goes on, as
// it would at a provider far away.
func (s *Sandbox) direct(r *http.Request, body []byte) (*http.Response, error) {
	request := withBody(r, body)
	request.RequestURI = request.URL.RequestURI()
	done := make(chan *recorder, 1)
	go func() {
		w := &recorder{header: http.Header{}}
		defer func() {
			if p := recover(); p != nil {
				w.broken = fmt.Errorf("%v", p)
			}
			done <- w
		}()
		s.ServeHTTP(w, request)
	}()
	select {
	case w := <-done:
		return w.response(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	broken error
}

func (w *recorder) Header() http.Header { return w.header }

// SetReadDeadline has nothing to wait for: the body is there.
func (w *recorder) SetReadDeadline(time.Time) error { return nil }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(text []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(text)
}

func (w *recorder) response(r *http.Request) (*http.Response, error) {
	if w.broken != nil || w.status == 0 {
		return nil, &net.OpError{Op: "read", Net: "unix", Err: errors.Join(os.NewSyscallError("read", syscall.ECONNRESET), w.broken)}
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Request: r,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body),
	}, nil
}
