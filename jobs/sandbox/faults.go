package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// Faults are how often the sandbox misbehaves, each from 0 to 1. At most one befalls a call and at most one a webhook, so
// those of either may not add up to more than 1. Equal seeds draw equally.
type Faults struct {
	Seed uint64 `json:"seed"`

	TimeoutBefore float64 `json:"timeout_before"` // nothing is done, no answer comes
	TimeoutAfter  float64 `json:"timeout_after"`  // done, no answer comes
	ErrorBefore   float64 `json:"error_before"`   // 500, nothing is done or kept
	ErrorAfter    float64 `json:"error_after"`    // done, 500, and that is kept under the key
	RateLimited   float64 `json:"rate_limited"`   // 429
	Stall         float64 `json:"stall"`          // 30 s, then as if nothing were
	Reset         float64 `json:"reset"`          // the connection is reset, before or after

	WebhookDuplicated   float64 `json:"webhook_duplicated"`
	WebhookReordered    float64 `json:"webhook_reordered"` // comes late, behind others
	WebhookEarly        float64 `json:"webhook_early"`     // comes before the answer to the call
	WebhookNever        float64 `json:"webhook_never"`
	WebhookBadSignature float64 `json:"webhook_bad_signature"` // at first
	WebhookStale        float64 `json:"webhook_stale"`         // signed an hour ago, at first
}

const (
	timeoutBefore = "timeout_before"
	timeoutAfter  = "timeout_after"
	errorBefore   = "error_before"
	errorAfter    = "error_after"
	rateLimited   = "rate_limited"
	stall         = "stall"
	reset         = "reset"
	resetBefore   = "reset_before"
	resetAfter    = "reset_after"

	duplicated   = "duplicated"
	reordered    = "reordered"
	early        = "early"
	never        = "never"
	badSignature = "bad_signature"
	stale        = "stale"
)

type fault struct {
	name string
	rate float64
}

func (f *Faults) ofCalls() []fault {
	return []fault{
		{timeoutBefore, f.TimeoutBefore}, {timeoutAfter, f.TimeoutAfter}, {errorBefore, f.ErrorBefore}, {errorAfter, f.ErrorAfter},
		{rateLimited, f.RateLimited}, {stall, f.Stall}, {reset, f.Reset},
	}
}

func (f *Faults) ofWebhooks() []fault {
	return []fault{
		{duplicated, f.WebhookDuplicated}, {reordered, f.WebhookReordered}, {early, f.WebhookEarly}, {never, f.WebhookNever},
		{badSignature, f.WebhookBadSignature}, {stale, f.WebhookStale},
	}
}

func (f *Faults) check() error {
	for _, kind := range [][]fault{f.ofCalls(), f.ofWebhooks()} {
		sum := 0.0
		for _, one := range kind {
			if !(one.rate >= 0 && one.rate <= 1) {
				return fmt.Errorf("the rate of %s has to be from 0 to 1", one.name)
			}
			sum += one.rate
		}
		if sum > 1.000001 {
			return errors.New("the rates of faults add up to more than 1")
		}
	}
	return nil
}

func isFault(name string) bool {
	var none Faults
	for _, f := range none.ofCalls() {
		if f.name == name {
			return true
		}
	}
	return name == resetBefore || name == resetAfter
}

// forcedFault is a fault that a token asks for; nothing was done.
type forcedFault string

func (f forcedFault) Error() string { return "the token forces " + string(f) }

// faultSource draws faults.
type faultSource struct {
	mu     sync.Mutex
	faults Faults
	calls  []fault
	hooks  []fault
	random *rand.Rand
}

func (f *faultSource) set(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.calls, f.hooks = faults, faults.ofCalls(), faults.ofWebhooks()
	f.random = rand.New(rand.NewPCG(faults.Seed, 0))
}

func (f *faultSource) get() Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// draw is the fault of a call, empty for none.
func (f *faultSource) draw() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole(f.pick(f.calls))
}

func (f *faultSource) drawWebhook() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pick(f.hooks)
}

func (f *faultSource) pick(from []fault) string {
	u := f.random.Float64()
	for _, one := range from {
		if u < one.rate {
			return one.name
		}
		u -= one.rate
	}
	return ""
}

// whole says when a connection is reset.
func (f *faultSource) whole(name string) string {
	switch {
	case name != reset:
		return name
	case f.random.IntN(2) == 0:
		return resetBefore
	}
	return resetAfter
}

func (f *faultSource) resolve(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole(name)
}

// force brings about what a card does to calls: once per key, so that a repeated call gets through. s.mu is held.
func (s *Sandbox) force(c *call, card card, name string) error {
	if card.hangs {
		c.fault = timeoutAfter
	}
	if card.refusals == 0 && (name == "" || name == holdBack) {
		return nil
	}
	key := c.keyHash
	if c.key == "" {
		key = hash(c.r.URL.Path)
	}
	before := s.calls.count(key)
	if before < card.refusals {
		return forcedFault(errorBefore)
	}
	if before > card.refusals || name == "" || name == holdBack {
		return nil
	}
	switch name = s.faults.resolve(name); name {
	case timeoutAfter, errorAfter, resetAfter:
		c.fault = name
		return nil
	}
	return forcedFault(name)
}

// actBefore brings about a fault before anything is done; true if the call ends with it.
func (s *Sandbox) actBefore(w http.ResponseWriter, c *call) bool {
	switch c.fault {
	case timeoutBefore:
		s.hang(c)
	case errorBefore:
		answerError(w, errInternal)
	case rateLimited:
		answerError(w, errRateLimit)
	case resetBefore:
		breakOff(w)
	case stall:
		select {
		case <-time.After(s.options.Stall):
		case <-s.closing:
			panic(http.ErrAbortHandler)
		}
		return false
	default:
		return false
	}
	return true
}

// actAfter brings about a fault when all is done; true if there is no answer any more.
func (s *Sandbox) actAfter(w http.ResponseWriter, c *call) bool {
	switch c.fault {
	case timeoutAfter:
		s.hang(c)
	case resetAfter:
		breakOff(w)
	default:
		return false
	}
	return true
}

// hang never answers.
func (s *Sandbox) hang(c *call) {
	select {
	case <-c.r.Context().Done():
	case <-time.After(hangMax):
	case <-s.closing:
	}
	panic(http.ErrAbortHandler)
}

// breakOff resets the connection, where there is one.
func breakOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // reset instead of an orderly end
	}
	_ = conn.Close()
}

func (s *Sandbox) getFaults(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(s.faults.get())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

func (s *Sandbox) putFaults(w http.ResponseWriter, r *http.Request) {
	var faults Faults
	body := json.NewDecoder(io.LimitReader(r.Body, bodyMax))
	body.DisallowUnknownFields()
	err := body.Decode(&faults)
	if err == nil {
		err = faults.check()
	}
	if err != nil {
		answerError(w, invalid("", "", "The faults cannot be set: "+err.Error()))
		return
	}
	s.faults.set(faults)
	s.getFaults(w, r)
}
