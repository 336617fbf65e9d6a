package sandbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

const (
	ledgerPage = 1000
	ledgerMax  = 10_000
	foundMax   = 100
)

// entry is a line of the ledger, for those who check the books of the shop against it.
type entry struct {
	Seq      int64             `json:"seq"`
	At       time.Time         `json:"at"`
	Kind     string            `json:"kind"`
	Intent   string            `json:"intent"`
	Refund   string            `json:"refund,omitempty"`
	Amount   int64             `json:"amount"` // of the refund if there is one, else of the intent
	Currency string            `json:"currency"`
	Metadata map[string]string `json:"metadata"`
	Key      string            `json:"key,omitempty"`
}

// getLedger is what happened after a number, as lines of JSON. Every change has one, numbered from 1 without gaps.
func (s *Sandbox) getLedger(w http.ResponseWriter, r *http.Request) {
	f, err := parseForm(r.URL.RawQuery)
	if err != nil {
		answerError(w, invalid("", "", "The parameters are not form-encoded."))
		return
	}
	after, err := f.number("after", 0, 0, 1<<62)
	if err != nil {
		answerError(w, err)
		return
	}
	limit, err := f.number("limit", ledgerPage, 1, ledgerMax)
	if err != nil {
		answerError(w, err)
		return
	}
	var out bytes.Buffer
	if err := s.writeLedger(json.NewEncoder(&out), after, limit); err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = w.Write(out.Bytes()) // who went away asks again
}

func (s *Sandbox) writeLedger(out *json.Encoder, after, limit int64) error {
	var failed error
	err := s.books.scan(s.books.near(after+1), func(text []byte) bool {
		n, ok := frontNumbers(text)
		if !ok || n[nSeq] <= after {
			return true // the heading, or before what is wanted
		}
		var l line
		if failed = json.Unmarshal(text, &l); failed == nil {
			failed = out.Encode(s.entryOf(&l))
		}
		return failed == nil && n[nSeq] < after+limit
	})
	if failed != nil {
		return failed
	}
	return err
}

func (s *Sandbox) entryOf(l *line) *entry {
	e := &entry{
		Seq: l.N[nSeq], At: time.UnixMicro(l.N[nAt]).UTC(), Kind: l.Kind, Intent: s.id("pi", l.Intent.Index, 0),
		Amount: l.Intent.Amount, Currency: l.Intent.Currency, Metadata: named(l.Intent.Metadata), Key: l.Key,
	}
	if l.Refund != nil {
		e.Refund, e.Amount = s.id("re", l.Refund.Index, 0), l.Refund.Amount
	}
	return e
}

// findIntents are the intents of an order, newest first. It reads the books from the beginning: it is for tests.
func (s *Sandbox) findIntents(w http.ResponseWriter, r *http.Request) {
	order := r.URL.Query().Get("metadata[order]")
	if order == "" {
		answerError(w, invalid("parameter_missing", "metadata[order]", "Missing required param: metadata[order]."))
		return
	}
	found, err := s.intentsOf(order)
	list := &listShape{Object: "list", URL: "/sandbox/intents", Data: []any{}}
	for i := 0; i < len(found) && err == nil; i++ {
		var in *intentShape
		in, err = s.seenIntent(found[i], false)
		list.Data = append(list.Data, in)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := json.Marshal(list)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

func (s *Sandbox) intentsOf(order string) ([]int, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	var found []int
	err = s.books.scan(0, func(full []byte) bool {
		if !bytes.Contains(full, text) {
			return true
		}
		var l line
		if json.Unmarshal(full, &l) == nil && l.Intent != nil && l.Intent.Metadata["order"] == order && !slices.Contains(found, l.Intent.Index) {
			found = append(found, l.Intent.Index)
		}
		return len(found) < foundMax
	})
	slices.Reverse(found)
	return found, err
}

// hold keeps the decision about an intent back until it is released: one that is being decided answers its confirm
// with processing, one that is not confirmed yet will.
func (s *Sandbox) hold(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	l, err := s.recordHold(r.PathValue("id"))
	s.mu.Unlock()
	if err == nil {
		err = l.batch.wait()
	}
	s.answerControl(w, r, l, err)
}

func (s *Sandbox) recordHold(id string) (*line, error) {
	in, err := s.intentOf(id, "intent")
	if err != nil {
		return nil, err
	}
	if in.Status == statuses[succeeded] || in.Status == statuses[isCanceled] {
		return nil, unexpectedState("hold", in.Status)
	}
	held := func(now *intentState) *line {
		now.Held, now.DecidesAt = true, 0
		return &line{Kind: heldBack, Status: http.StatusOK, Intent: now}
	}
	d := s.deciding[in.Index]
	if d == nil {
		now := *in
		l := held(&now)
		return l, s.record(l)
	}
	d.stop()
	defer close(d.done)
	l, err := s.recordEnd(in.Index, d, held)
	if err == nil {
		s.decideLater(l)
		d.line = l
	}
	return l, err
}

// release decides an intent that is being decided, as ?outcome= says.
func (s *Sandbox) release(w http.ResponseWriter, r *http.Request) {
	var why *decline
	switch outcome := r.URL.Query().Get("outcome"); outcome {
	case "", "succeeded":
	case "failed":
		why = cardDeclined
	default:
		answerError(w, invalid("", "outcome", "The outcome is succeeded or failed."))
		return
	}
	s.mu.Lock()
	in, err := s.intentOf(r.PathValue("id"), "intent")
	var d *decision
	if err == nil {
		if d = s.deciding[in.Index]; d != nil {
			d.stop()
		}
	}
	s.mu.Unlock()
	var l *line
	if d != nil {
		l, err = s.settle(in.Index, d, why)
	}
	if err == nil && l == nil {
		err = unexpectedState("release", in.Status)
	}
	s.answerControl(w, r, l, err)
}

func (s *Sandbox) answerControl(w http.ResponseWriter, r *http.Request, l *line, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := json.Marshal(s.shapeIntent(l.Intent, false))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}
