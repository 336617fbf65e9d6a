package sandbox

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// decision is an intent that is being decided: by time, or held until somebody releases it.
type decision struct {
	timer *time.Timer // nil while held
	call  *line       // that began it
	line  *line       // that ended it, nil if nothing did
	done  chan struct{}
}

func (d *decision) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// decide charges the card of an intent, which is the caller's own copy; s.mu is held.
func (s *Sandbox) decide(c *call, in *intentState) (*line, error) {
	card, fault, _ := readToken(in.Token)
	if err := s.force(c, card, fault); err != nil {
		return nil, err
	}
	in.Decline = nil
	switch {
	case card.challenge:
		in.Status = statuses[requiresAction]
		l := c.answered(&line{Kind: challenged, Status: http.StatusOK, Intent: in})
		return l, s.record(l)
	case in.Held || fault == holdBack:
		in.Held, in.Status = true, statuses[inProcess]
		l := c.answered(&line{Kind: processing, Status: http.StatusOK, Intent: in})
		return l, s.beginDecision(l)
	case card.slow:
		in.Status, in.DecidesAt = statuses[inProcess], time.Now().Add(s.options.Slow).UnixMicro()
		l := c.answered(&line{Kind: processing, Status: http.StatusOK, Intent: in})
		l.N[nKept] = 0 // the answer kept is the one that comes when it is decided
		err := s.beginDecision(l)
		l.later = s.deciding[in.Index]
		return l, err
	}
	l := c.answered(charge(in, card.decline))
	return l, s.record(l)
}

// charge decides an intent, which is the caller's own copy.
func charge(in *intentState, why *decline) *line {
	in.Attempts++
	in.ChargedAt, in.DecidesAt, in.Held = time.Now().UnixMicro(), 0, false
	if why == nil {
		in.Status = statuses[succeeded]
		return &line{Kind: captured, Status: http.StatusOK, Intent: in}
	}
	in.Status, in.Decline, in.Token = statuses[requiresMethod], why, ""
	return &line{Kind: declined, Status: http.StatusPaymentRequired, Intent: in, Error: &errorShape{
		Type: "card_error", Code: why.Code, DeclineCode: why.Decline, Message: why.Message,
	}}
}

func (s *Sandbox) beginDecision(l *line) error {
	if err := s.record(l); err != nil {
		return err
	}
	s.decideLater(l)
	return nil
}

// decideLater waits for the moment of a decision, or for a release if it has none; s.mu is held.
func (s *Sandbox) decideLater(l *line) {
	d := &decision{call: l, done: make(chan struct{})}
	s.deciding[l.Intent.Index] = d
	if at := l.Intent.DecidesAt; at > 0 && !l.Intent.Held {
		d.timer = time.AfterFunc(time.Until(time.UnixMicro(at)), func() {
			card, _, _ := readToken(l.Intent.Token)
			if _, err := s.settle(l.Intent.Index, d, card.decline); err != nil {
				s.log.Error("the sandbox could not decide an intent; it is tried again when the books are opened",
					slog.Int("intent", l.Intent.Index), slog.Any("error", err))
			}
		})
	}
}

// settle ends a decision and gives the call that began it its answer; nil if it was ended already.
func (s *Sandbox) settle(index int, d *decision, why *decline) (*line, error) {
	s.mu.Lock()
	if s.deciding[index] != d {
		s.mu.Unlock()
		return nil, nil
	}
	l, err := s.recordEnd(index, d, func(in *intentState) *line { return charge(in, why) })
	s.mu.Unlock()
	if err == nil {
		err = l.batch.wait()
	}
	if err == nil {
		d.line = l
		s.tell(context.Background(), l)
	}
	close(d.done)
	return l, err
}

// recordEnd records how a decision ended; if the call that began it has no answer kept yet, this is it.
func (s *Sandbox) recordEnd(index int, d *decision, end func(*intentState) *line) (*line, error) {
	delete(s.deciding, index)
	last, err := s.lastLine(index)
	if err != nil {
		return nil, err
	}
	in := *last.Intent
	l := end(&in)
	if d.call.N[nKept] == 0 {
		l.Key, l.Request, l.Expand = d.call.Key, d.call.Request, d.call.Expand
		l.N[nKey], l.N[nCall] = d.call.N[nKey], d.call.N[nCall]
		if l.Key != "" {
			l.N[nKept] = 1
		}
		if d.call.Status == http.StatusInternalServerError {
			l.Status, l.Error = d.call.Status, d.call.Error
		}
	}
	return l, s.record(l)
}
