package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stripe/stripe-go/v85"

	"frenchpress/db"
)

const (
	// answerLimit bounds what is read of one answer: a page of a hundred intents takes about 400 KiB.
	answerLimit = 4 << 20
	// connsKept is how many idle connections to the provider wait for the next group of charges.
	connsKept   = 2 * chargesAtOnce
	dialTimeout = 2 * time.Second
	// callTimeout is the longest that any call may take, whatever its caller's patience.
	callTimeout = 15 * time.Second
	listPage    = 100
	// listRests is how long to rest before the next page, as a multiple of the time that one took, which may be mostly the
	// way to the provider; listRestMost bounds it.
	listRests    = 5
	listRestMost = 100 * time.Millisecond
	// refundsMost is more than an order has units to give back one by one.
	refundsMost = 10_000
	intentsPath = "/v1/payment_intents"
	refundsPath = "/v1/refunds"
)

// Provider charges cards and gives money back: whoever speaks Stripe's API at an address, or the built-in sandbox.
// Nothing is tried again in here: what follows an answer, or none, is for next to say.
type Provider struct {
	library   *stripe.BackendImplementation // makes requests and reads refusals
	transport http.RoundTripper
	key       string
	log       *slog.Logger

	silence, trouble, locked Tally // of calls that were not answered, failed, or not let in
}

// NewProvider makes a client of the provider at an address. With a transport of its own nothing goes over the network.
func NewProvider(at, key string, transport http.RoundTripper, log *slog.Logger) *Provider {
	if transport == nil {
		transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        connsKept,
			MaxIdleConnsPerHost: connsKept,
			IdleConnTimeout:     time.Minute,
		}
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL:             stripe.String(strings.TrimSuffix(at, "/")),
		EnableTelemetry: stripe.Bool(false),
		LeveledLogger:   &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return &Provider{library: backend.(*stripe.BackendImplementation), transport: transport, key: key, log: log.With("provider", at)}
}

// Create makes the intent of a charge, with the card but without taking money.
func (p *Provider) Create(ctx context.Context, c *db.Charge) said {
	return p.ask(ctx, "create the intent of a charge", http.MethodPost, intentsPath, url.Values{
		"amount":                           {strconv.FormatInt(c.Amount, 10)},
		"currency":                         {strings.ToLower(c.Currency)},
		"payment_method_types[0]":          {"card"},
		"payment_method_data[type]":        {"card"},
		"payment_method_data[card][token]": {c.Token},
		"metadata[order]":                  {c.Reference()},
		"metadata[attempt]":                {strconv.Itoa(c.Attempt)},
	}, c.KeyFor("create"), "")
}

// Confirm takes the money.
func (p *Provider) Confirm(ctx context.Context, c *db.Charge) said {
	return p.ask(ctx, "confirm an intent", http.MethodPost, pathOf(intentsPath, c.Intent, "/confirm"), nil, c.KeyFor("confirm"), c.Intent)
}

// Cancel makes sure that an intent that took no money never will.
func (p *Provider) Cancel(ctx context.Context, c *db.Charge, reason string) said {
	return p.ask(ctx, "cancel an intent", http.MethodPost, pathOf(intentsPath, c.Intent, "/cancel"),
		url.Values{"cancellation_reason": {reason}}, c.KeyFor("cancel"), c.Intent)
}

// Read asks what became of an intent.
func (p *Provider) Read(ctx context.Context, id string) said {
	return p.ask(ctx, "read an intent", http.MethodGet, pathOf(intentsPath, id, ""), nil, "", id)
}

func pathOf(list, id, what string) string { return list + "/" + url.PathEscape(id) + what }

// ask asks something about one intent, a new one if it has no id yet. An answer about another one is none.
func (p *Provider) ask(ctx context.Context, tried, method, path string, form url.Values, key, id string) said {
	var a answer
	err := p.call(ctx, method, path, form, key, &a)
	if err == nil && (a.ID == "" || id != "" && a.ID != id) {
		err = fmt.Errorf("an answer about the intent %q", a.ID)
	}
	return p.heard(ctx, tried, &a, err)
}

// call asks for something and reads the answer as it comes, once, for what we want to know. Every order comes through
// here twice, and again when books are compared: the library's own type of an intent knows hundreds of fields, it reads
// each answer three times, and its way of sending takes as long again. Nobody is followed elsewhere: a request with our
// key is for one address.
func (p *Provider) call(ctx context.Context, method, path string, form url.Values, key string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := p.request(ctx, method, path, form, key)
	if err != nil {
		return err
	}
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer response.Body.Close()
	body := http.MaxBytesReader(nil, response.Body, answerLimit)
	if response.StatusCode < http.StatusMultipleChoices {
		err = json.UnmarshalRead(body, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	} else {
		err = p.refused(response, body)
	}
	var fault *stripe.Error
	if err != nil && !errors.As(err, &fault) {
		return fmt.Errorf("%s %s: status %d: %w", method, path, response.StatusCode, err)
	}
	return err
}

func (p *Provider) request(ctx context.Context, method, path string, form url.Values, key string) (*http.Request, error) {
	params := &stripe.Params{Context: ctx}
	if key != "" {
		params.IdempotencyKey = &key
	}
	words := form.Encode()
	if method == http.MethodGet && words != "" {
		path, words = path+"?"+words, ""
	}
	request, err := p.library.NewRequest(method, path, p.key, "application/x-www-form-urlencoded", params)
	if err != nil || words == "" {
		return request, err
	}
	request.ContentLength = int64(len(words))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(words)), nil }
	request.Body, err = request.GetBody()
	return request, err
}

// refused is what the provider says in place of an answer. What does not come from its API is not repeated: nobody knows
// what is in there, a guest's card perhaps.
func (p *Provider) refused(response *http.Response, body io.Reader) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var fault *stripe.Error
	switch status := response.StatusCode; {
	case errors.As(p.library.ResponseToError(response, text), &fault):
		return fault
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &stripe.Error{HTTPStatusCode: status, Msg: http.StatusText(status)}
	}
	return fmt.Errorf("%d bytes of %q that are not the API's", len(text), response.Header.Get("Content-Type"))
}

const (
	// keysTrusted is less than the 24 hours for which the provider remembers what it was asked under a key.
	keysTrusted = 20 * time.Hour
	// keysMost bounds the keys that one refund may use up with kept 500s in one go.
	keysMost = 5
)

// Refund gives an amount of a charge back, once per key, and returns the provider's name of the refund. The key was
// first used at asked or later. A refusal is for good, errNotYet says that the provider has not decided; any other error
// is not known to mean anything.
//
// A 500 that the provider keeps under a key may have given the money back or not, and is all that it will ever say to that
// key; so may what an older release asked under it in other words. Whether there is a refund of ours in its books then
// decides, and only if there is none another key is used.
func (p *Provider) Refund(ctx context.Context, key string, of *db.Charge, amount int64, asked time.Time) (ref string, err error) {
	if time.Since(asked) > keysTrusted {
		if known, err := p.refundUnder(ctx, key, of.Intent); err != nil || known != nil {
			return known.outcome(err)
		}
	}
	for n := range keysMost {
		var refund *Refund
		refund, err = p.createRefund(ctx, key, n, of, amount)
		var fault *stripe.Error
		switch {
		case err == nil && refund.State == string(stripe.RefundStatusPending): // as it was when it was made: a repeat says so for ever
			now, err := p.ReadRefund(ctx, refund.ID)
			return now.outcome(err)
		case err == nil:
			return refund.outcome(nil)
		case !errors.As(err, &fault) || meaning(fault) != spent:
			return "", p.wrapped(ctx, "give money back", err)
		}
		if known, err := p.refundUnder(ctx, key, of.Intent); err != nil || known != nil {
			return known.outcome(err)
		}
	}
	return "", p.wrapped(ctx, "give money back", err)
}

// createRefund asks for a refund under its key, or the nth one after that.
func (p *Provider) createRefund(ctx context.Context, key string, n int, of *db.Charge, amount int64) (*Refund, error) {
	form := url.Values{
		"payment_intent": {of.Intent}, "amount": {strconv.FormatInt(amount, 10)},
		"metadata[order]": {of.Reference()}, "metadata[key]": {key},
	}
	if n > 0 {
		key = fmt.Sprintf("%s-again-%d", key, n)
	}
	return p.refund(ctx, http.MethodPost, refundsPath, form, key)
}

// refund asks something about one refund.
func (p *Provider) refund(ctx context.Context, method, path string, form url.Values, key string) (*Refund, error) {
	var a answer
	err := p.call(ctx, method, path, form, key, &a)
	if err == nil && a.ID == "" {
		err = errors.New("an answer without a refund")
	}
	if err != nil {
		return nil, err
	}
	return a.refund(), nil
}

// refundUnder is the refund of an intent that was made under a key, nil if there is none.
func (p *Provider) refundUnder(ctx context.Context, key, intent string) (*Refund, error) {
	all, err := p.RefundsOf(ctx, intent)
	for _, refund := range all {
		if refund.Key == key {
			return refund, nil
		}
	}
	return nil, err
}

// outcome is what the refund came to, unless it could not be read.
func (r *Refund) outcome(err error) (ref string, _ error) {
	if err != nil {
		return "", err
	}
	switch stripe.RefundStatus(r.State) {
	case stripe.RefundStatusSucceeded:
		return r.ID, nil
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		return r.ID, &refusal{words: strings.TrimSpace(r.State + " " + r.Failure)}
	}
	return r.ID, errNotYet
}

// ReadRefund asks what became of a refund.
func (p *Provider) ReadRefund(ctx context.Context, id string) (*Refund, error) {
	refund, err := p.refund(ctx, http.MethodGet, pathOf(refundsPath, id, ""), nil, "")
	if err != nil {
		return nil, p.wrapped(ctx, "read a refund", err)
	}
	return refund, nil
}

// Intents gives each of those created from one moment until before another. More than limit are errTooMany.
func (p *Provider) Intents(ctx context.Context, from, until time.Time, limit int, each func(*Intent)) error {
	return p.list(ctx, "list intents", intentsPath, between(from, until), limit, func(a *answer) { each(a.intent()) })
}

// Refunds gives each of those created from one moment until before another. More than limit are errTooMany.
func (p *Provider) Refunds(ctx context.Context, from, until time.Time, limit int, each func(*Refund)) error {
	return p.list(ctx, "list refunds", refundsPath, between(from, until), limit, func(a *answer) { each(a.refund()) })
}

// RefundsOf are those of one intent.
func (p *Provider) RefundsOf(ctx context.Context, intent string) (all []*Refund, err error) {
	of := url.Values{"payment_intent": {intent}}
	err = p.list(ctx, "list refunds", refundsPath, of, refundsMost, func(a *answer) { all = append(all, a.refund()) })
	return all, err
}

// list reads a list of the provider's to its end, over as many pages as it has, and mostly rests in between: who compares
// books has time, and in a rush others have not. The refunds of one charge seldom fill a page.
func (p *Provider) list(ctx context.Context, tried, path string, filter url.Values, limit int, each func(*answer)) error {
	filter.Set("limit", strconv.Itoa(listPage))
	for read := 0; ; {
		var page struct {
			Data []answer `json:"data"`
			More bool     `json:"has_more"`
		}
		began := time.Now()
		if err := p.call(ctx, http.MethodGet, path, filter, "", &page); err != nil {
			return p.wrapped(ctx, tried, err)
		}
		if page.Data == nil {
			return p.wrapped(ctx, tried, errors.New("an answer without a list"))
		}
		if read += len(page.Data); read > limit {
			return errTooMany
		}
		for i := range page.Data {
			each(&page.Data[i])
		}
		if !page.More || len(page.Data) == 0 {
			return nil
		}
		filter.Set("starting_after", page.Data[len(page.Data)-1].ID)
		select {
		case <-time.After(min(listRests*time.Since(began), listRestMost)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errTooMany is a window with more in it than can be taken in at a time.
var errTooMany = errors.New("the provider has more than fits into one window")

func between(from, until time.Time) url.Values {
	return url.Values{"created[gte]": {strconv.FormatInt(from.Unix(), 10)}, "created[lt]": {strconv.FormatInt(until.Unix(), 10)}}
}
