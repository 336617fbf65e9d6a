package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// apiVersion is the one that the official Go client of this version expects.
	apiVersion = "2026-03-25.dahlia"
	// hooksMax bounds the webhooks that wait, those that wait to be tried again included: about 8 MB.
	hooksMax = 4096
	// hookSenders send at the same time; each waits hookTimeout for an answer.
	hookSenders = 8
	hookTimeout = 5 * time.Second
	// hookTries with waits of 1, 2, 4 … seconds are about four minutes, where the real provider takes three days.
	hookTries = 9
	hookWait  = time.Second
	// earlyMax is how long an answer waits for a webhook that is to be there before it.
	earlyMax = 2 * time.Second
	// lateMax is how late a reordered one comes at most.
	lateMax = 3 * time.Second
	// staleBy is how old the signature of a stale one is.
	staleBy = time.Hour
)

// webhooks tell the shop what happened. What waits is lost with the process, as some always are: who is told relies
// on asking.
type webhooks struct {
	url, secret string
	log         *slog.Logger
	client      *http.Client
	queue       chan *webhook
	waiting     atomic.Int64
	ctx         context.Context
	stop        context.CancelFunc
	senders     sync.WaitGroup
}

// webhook is one message on its way.
type webhook struct {
	id    string
	body  []byte
	fault string
	tries int
	tried chan struct{} // closed when it was sent once
}

type eventShape struct {
	ID         string       `json:"id"`
	Object     string       `json:"object"`
	APIVersion string       `json:"api_version"`
	Created    int64        `json:"created"`
	Data       dataShape    `json:"data"`
	Livemode   bool         `json:"livemode"`
	Pending    int          `json:"pending_webhooks"`
	Request    requestShape `json:"request"`
	Type       string       `json:"type"`
}

type dataShape struct {
	Object any `json:"object"`
}

type requestShape struct {
	ID  *string `json:"id"`
	Key *string `json:"idempotency_key"`
}

func newWebhooks(options Options) *webhooks {
	h := &webhooks{url: options.WebhookURL, secret: options.WebhookSecret, log: options.Log}
	h.ctx, h.stop = context.WithCancel(context.Background())
	if h.url == "" {
		return h
	}
	h.client = &http.Client{Timeout: hookTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: hookSenders}}
	h.queue = make(chan *webhook, hooksMax)
	for range hookSenders {
		h.senders.Go(h.run)
	}
	return h
}

func (h *webhooks) close() {
	h.stop()
	h.senders.Wait()
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
}

// tell sends the webhooks of a line; its call is not answered yet.
func (s *Sandbox) tell(ctx context.Context, l *line) {
	if s.hooks.url == "" {
		return
	}
	for n, kind := range eventsOf(l) {
		body, err := json.Marshal(s.shapeEvent(l, n, kind))
		if err != nil {
			s.log.Error("a webhook of the sandbox has no JSON; it is not sent", slog.String("type", kind), slog.Any("error", err))
			continue
		}
		w := &webhook{id: s.id("evt", int(l.N[nSeq]), n), body: body, fault: s.faults.drawWebhook(), tried: make(chan struct{})}
		s.hooks.send(w)
		if w.fault == early {
			select {
			case <-w.tried:
			case <-time.After(earlyMax):
			case <-ctx.Done():
			case <-s.closing:
			}
		}
	}
}

func eventsOf(l *line) []string {
	switch l.Kind {
	case captured:
		return []string{"payment_intent.succeeded"}
	case declined:
		return []string{"payment_intent.payment_failed"}
	case canceled:
		return []string{"payment_intent.canceled"}
	case processing:
		return []string{"payment_intent.processing"}
	case challenged:
		return []string{"payment_intent.requires_action"}
	case refunded:
		return []string{"charge.refunded", "refund.updated"}
	case refundPending:
		return []string{"charge.refunded"}
	case refundFailed:
		return []string{"refund.updated", "refund.failed"}
	}
	return nil
}

func (s *Sandbox) shapeEvent(l *line, n int, kind string) *eventShape {
	event := &eventShape{
		ID: s.id("evt", int(l.N[nSeq]), n), Object: "event", APIVersion: apiVersion, Created: seconds(l.N[nAt]), Pending: 1, Type: kind,
		Request: requestShape{some(l.Request), some(l.Key)},
	}
	switch {
	case kind == "charge.refunded":
		event.Data.Object = s.shapeCharge(l.Intent)
	case l.Refund != nil:
		event.Data.Object = s.shapeRefund(l.Intent, l.Refund)
	default:
		event.Data.Object = s.shapeIntent(l.Intent, false)
	}
	return event
}

// send puts a webhook on its way, by way of its fault.
func (h *webhooks) send(w *webhook) {
	switch w.fault {
	case never:
	case duplicated:
		h.enqueue(w, 0)
		h.enqueue(&webhook{id: w.id, body: w.body, tried: make(chan struct{})}, 0)
	case reordered:
		h.enqueue(w, 1+rand.N(lateMax))
	default:
		h.enqueue(w, 0)
	}
}

func (h *webhooks) enqueue(w *webhook, after time.Duration) {
	if h.waiting.Add(1) > hooksMax {
		h.waiting.Add(-1)
		h.log.Warn("too many webhooks of the sandbox wait; one is dropped", slog.String("event", w.id))
		return
	}
	if after == 0 {
		h.queue <- w // has room for all that wait
		return
	}
	time.AfterFunc(after, func() { h.queue <- w })
}

func (h *webhooks) run() {
	for {
		select {
		case w := <-h.queue:
			h.waiting.Add(-1)
			h.try(w)
		case <-h.ctx.Done():
			return
		}
	}
}

// try sends a webhook once, and sees to it that it is sent again if it was not taken.
func (h *webhooks) try(w *webhook) {
	err := h.post(w)
	w.tries++
	if w.tries == 1 {
		close(w.tried)
	}
	switch {
	case err == nil || h.ctx.Err() != nil:
	case w.tries == hookTries:
		h.log.Warn("a webhook of the sandbox was not taken; it is given up", slog.String("event", w.id), slog.Any("error", err))
	default:
		h.enqueue(w, hookWait<<(w.tries-1))
	}
}

func (h *webhooks) post(w *webhook) error {
	request, err := http.NewRequestWithContext(h.ctx, http.MethodPost, h.url, bytes.NewReader(w.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Frenchpress-Sandbox/1.0")
	request.Header.Set("Stripe-Signature", h.signature(w))
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, response.Body, bodyMax) // so that the connection can be used again
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the answer was %s", response.Status)
	}
	return nil
}

// signature is the right one but for a fault, and then the next try's is.
func (h *webhooks) signature(w *webhook) string {
	at, secret := time.Now(), h.secret
	if w.tries == 0 && w.fault == stale {
		at = at.Add(-staleBy)
	}
	if w.tries == 0 && w.fault == badSignature {
		secret = "not the secret"
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(w.body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
