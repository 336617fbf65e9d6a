package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
)

// change is a route that changes something: once per key, on disk before the answer goes out. do records a
// line, with s.mu held, or says why nothing is done.
func (s *Sandbox) change(do func(*call) (*line, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.readCall(w, r)
		if err != nil {
			answerError(w, err)
			return
		}
		c.fault = s.faults.draw()
		if !s.actBefore(w, c) {
			s.perform(w, c, do)
		}
	}
}

func (s *Sandbox) perform(w http.ResponseWriter, c *call, do func(*call) (*line, error)) {
	l, replay, err := s.once(c, do)
	var forced forcedFault
	switch {
	case errors.As(err, &forced):
		c.fault = string(forced)
		if !s.actBefore(w, c) {
			c.fault = "" // a token forces a fault once per key
			s.perform(w, c, do)
		}
	case err != nil:
		s.fail(w, c.r, err)
	case replay:
		w.Header().Set("Idempotent-Replayed", "true")
		w.Header().Set("Original-Request", l.Request)
		s.finish(w, c, l)
	default:
		s.finish(w, c, l)
	}
}

// once does what is asked, or finds what was answered before under the same key.
func (s *Sandbox) once(c *call, do func(*call) (*line, error)) (l *line, replay bool, err error) {
	l, at, err := s.begin(c, do, c.key != "")
	if err == nil && l == nil {
		if l, err = s.kept(c, at); l != nil || err != nil {
			return l, true, err
		}
		l, _, err = s.begin(c, do, false) // two keys have one hash
	}
	if err != nil {
		return nil, false, err
	}
	if err := l.batch.wait(); err != nil {
		return nil, false, err
	}
	s.tell(c.r.Context(), l)
	return l, false, nil
}

// begin looks for the key and does what is asked in one go; without a line, the answer kept stands at a place.
func (s *Sandbox) begin(c *call, do func(*call) (*line, error), look bool) (*line, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if look {
		if at, ok := s.keys.find(c.keyHash); ok {
			return nil, at, nil
		}
	}
	if c.key != "" && !s.keys.take(c.keyHash) {
		return nil, 0, errKeyInUse
	}
	l, err := do(c)
	if err != nil && c.key != "" {
		s.keys.free(c.keyHash)
	}
	return l, 0, err
}

// kept is the line at a place if it was answered with under the same key, nil if that was another.
func (s *Sandbox) kept(c *call, at int64) (*line, error) {
	l, err := s.books.read(at)
	if err != nil || l.Key != c.key {
		return nil, err
	}
	if uint64(l.N[nCall]) != c.same {
		return nil, keyReused(c.key)
	}
	return l, nil
}

// finish gives the answer that a line holds, unless it comes later or a fault keeps it back.
func (s *Sandbox) finish(w http.ResponseWriter, c *call, l *line) {
	if l.later != nil {
		select {
		case <-l.later.done:
			if l = l.later.line; l != nil && l.batch.wait() != nil {
				l = nil
			}
		case <-c.r.Context().Done():
			return
		case <-s.closing:
			panic(http.ErrAbortHandler)
		}
	}
	if l == nil {
		panic(http.ErrAbortHandler)
	}
	if s.actAfter(w, c) {
		return
	}
	status, body := s.answer(l)
	answer(w, status, body)
}

// answered makes a line the answer to a call.
func (c *call) answered(l *line) *line {
	l.Key, l.Request, l.Expand = c.key, c.request, c.expand
	if c.key != "" {
		l.N[nKey], l.N[nCall], l.N[nKept] = int64(c.keyHash), int64(c.same), 1
	}
	if c.fault == errorAfter {
		l.Status, l.Error = http.StatusInternalServerError, errInternal.shape()
	}
	return l
}

// refuse records that the state of an intent forbids a call, which is an answer to be kept as well.
func (s *Sandbox) refuse(c *call, in *intentState, e *apiError) (*line, error) {
	l := c.answered(&line{Kind: refused, Status: e.status, Error: e.shape(), Intent: in})
	return l, s.record(l)
}

// look is a route that changes nothing.
func (s *Sandbox) look(get func(*call) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.readCall(w, r)
		if err != nil {
			answerError(w, err)
			return
		}
		c.fault = s.faults.draw()
		if s.actBefore(w, c) {
			return
		}
		found, err := get(c)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		body, err := json.Marshal(found)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		answer(w, http.StatusOK, body)
	}
}

// fail answers with an error of the API. Any other is ours, and then nobody knows what is on disk: the
// connection breaks, as when a provider dies.
func (s *Sandbox) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	if errors.As(err, &e) {
		answerError(w, e)
		return
	}
	if !errors.Is(err, errClosed) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, errBroken) {
		s.log.ErrorContext(r.Context(), "the sandbox could not answer a call; its connection is broken off",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	panic(http.ErrAbortHandler)
}

func answerError(w http.ResponseWriter, err error) {
	e := errInternal
	errors.As(err, &e)
	body, err := json.Marshal(map[string]any{"error": e.shape()})
	if err != nil {
		panic(fmt.Sprintf("sandbox: an error has no JSON: %v", err))
	}
	answer(w, e.status, body)
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away asks again
}
