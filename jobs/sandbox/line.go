package sandbox

import (
	"encoding/json"
	"fmt"
	"time"
)

// The numbers at the front of a line are all that opening the books has to read.
const (
	nSeq = iota
	nAt
	nKey
	nCall // the hash of the call's method, path and parameters
	nKept // 1: this line is the answer kept under the key
	nIntent
	nAmount
	nRefunded
	nStatus
	nRefund // or noRefund, or unchanged
	nRefundAmount
	nRefundStatus
	nNumbers
)

// What stands at nRefund in a line that is of no refund: unchanged is a call that was refused, so that the line before it
// still is the intent's last change.
const (
	noRefund  = -1
	unchanged = -2
)

// What a line of the books and of the ledger says happened.
const (
	created       = "created"
	captured      = "captured"
	declined      = "declined"
	challenged    = "requires_action"
	processing    = "processing"
	canceled      = "canceled"
	refunded      = "refunded"
	refundPending = "refund_pending"
	refundFailed  = "refund_failed"
	refused       = "refused" // a call that the intent's state forbids; nothing changed
	heldBack      = "held"
)

// line is one change: what happened, what an intent is now, and what was answered. Answers are made from it
// alone, so that a repeated call gets the same bytes.
type line struct {
	N       [nNumbers]int64 `json:"n"`
	Kind    string          `json:"kind"`
	Status  int             `json:"status"`
	Error   *errorShape     `json:"error,omitempty"`
	Key     string          `json:"key,omitempty"`
	Request string          `json:"request,omitempty"`
	Expand  bool            `json:"expand,omitempty"`
	Intent  *intentState    `json:"intent"`
	Refund  *refundState    `json:"refund,omitempty"`

	batch *batch    // that brings it to disk
	later *decision // which answers instead of this line
}

// intentState is an intent at a moment. It never changes: a change makes another.
type intentState struct {
	Index       int               `json:"index"`
	Created     int64             `json:"created"` // microseconds, as all times here
	Amount      int64             `json:"amount"`
	Refunded    int64             `json:"refunded,omitempty"`
	Currency    string            `json:"currency"`
	Status      string            `json:"status"`
	Token       string            `json:"token,omitempty"`
	Attempts    int               `json:"attempts,omitempty"`
	ChargedAt   int64             `json:"charged_at,omitempty"`
	Types       []string          `json:"types"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Decline     *decline          `json:"decline,omitempty"`
	Held        bool              `json:"held,omitempty"`
	DecidesAt   int64             `json:"decides_at,omitempty"`
	Reason      string            `json:"reason,omitempty"` // of cancelling
	CanceledAt  int64             `json:"canceled_at,omitempty"`
}

type refundState struct {
	Index     int               `json:"index"`
	Created   int64             `json:"created"`
	Amount    int64             `json:"amount"`
	Status    string            `json:"status"`
	Reason    string            `json:"reason,omitempty"`
	Failure   string            `json:"failure,omitempty"`
	DecidesAt int64             `json:"decides_at,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// intent is what memory keeps of an intent; the rest is read from the books.
type intent struct {
	created    int64
	at         int64 // the line of its last change
	lastRefund uint32
	status     uint8
}

// refund is what memory keeps of a refund. Those of one intent are a chain.
type refund struct {
	created int64
	at      int64
	intent  uint32
	before  uint32 // the intent's refund before it, counted from 1
	status  uint8
}

// The states of intents and refunds; memory and the front of a line have their place in this list.
var statuses = []string{
	"requires_payment_method", "requires_confirmation", "requires_action", "processing", "succeeded", "canceled", "pending", "failed",
}

const (
	requiresMethod = iota
	requiresConfirmation
	requiresAction
	inProcess
	succeeded
	isCanceled
	isPending
	hasFailed
)

func statusNumber(name string) int64 {
	for i, s := range statuses {
		if s == name {
			return int64(i)
		}
	}
	panic("sandbox: no status " + name)
}

// record puts a line into the books and into memory. s.mu is held; the caller waits for l.batch before it answers.
func (s *Sandbox) record(l *line) error {
	l.N[nSeq], l.N[nAt] = s.seq+1, max(s.lastAt, time.Now().UnixMicro())
	s.date(l)
	l.N[nIntent], l.N[nAmount], l.N[nRefunded] = int64(l.Intent.Index), l.Intent.Amount, l.Intent.Refunded
	l.N[nStatus], l.N[nRefund] = statusNumber(l.Intent.Status), noRefund
	switch {
	case l.Kind == refused:
		l.N[nRefund] = unchanged
	case l.Refund != nil:
		l.N[nRefund], l.N[nRefundAmount], l.N[nRefundStatus] = int64(l.Refund.Index), l.Refund.Amount, statusNumber(l.Refund.Status)
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write a line of the sandbox's books: %w", err)
	}
	if len(text) >= lineMax {
		return invalid("", "", "The parameters are too long.")
	}
	at, batch, err := s.books.append(text)
	if err != nil {
		return err
	}
	l.batch = batch
	s.apply(&l.N, at)
	if l.Kind != refused {
		s.recent[l.Intent.Index%recentMax] = l
	}
	return nil
}

// date gives what is new the time of its line, by which it is listed.
func (s *Sandbox) date(l *line) {
	if l.Intent.Index == s.intents.len() {
		l.Intent.Created = l.N[nAt]
	}
	if l.Refund != nil && l.Refund.Index == s.refunds.len() {
		l.Refund.Created = l.N[nAt]
	}
}

// apply brings memory up to a line that stands at a place.
func (s *Sandbox) apply(n *[nNumbers]int64, at int64) {
	s.seq, s.lastAt = n[nSeq], n[nAt]
	index := int(n[nIntent])
	if index == s.intents.len() {
		s.intents.add(intent{created: n[nAt]})
	}
	if n[nRefund] != unchanged {
		in := s.intents.get(index)
		in.at, in.status = at, uint8(n[nStatus])
		if n[nRefund] != noRefund {
			s.applyRefund(n, at, in)
		}
	}
	if n[nKept] == 1 {
		s.keys.keep(uint64(n[nKey]), at, n[nAt])
	}
}

func (s *Sandbox) applyRefund(n *[nNumbers]int64, at int64, in *intent) {
	index := int(n[nRefund])
	if index == s.refunds.len() {
		s.refunds.add(refund{created: n[nAt], intent: uint32(n[nIntent]), before: in.lastRefund})
		in.lastRefund = uint32(index) + 1
	}
	re := s.refunds.get(index)
	re.at, re.status = at, uint8(n[nRefundStatus])
}

// lastLine is the last change of an intent; s.mu is held.
func (s *Sandbox) lastLine(index int) (*line, error) {
	if l := s.recent[index%recentMax]; l != nil && l.Intent.Index == index {
		return l, nil
	}
	l, err := s.books.read(s.intents.get(index).at)
	if err != nil {
		return nil, err
	}
	s.recent[index%recentMax] = l
	return l, nil
}
