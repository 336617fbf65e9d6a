package jobs

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// via is what stands between the shop and its provider; nil leaves a call to go on.
type via struct {
	http.RoundTripper
	answer func(*http.Request) (*http.Response, error)
}

func through(answer func(*http.Request) (*http.Response, error)) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return via{next, answer} }
}

// RoundTrip sends a request on unless it is answered here.
func (v via) RoundTrip(r *http.Request) (*http.Response, error) {
	if resp, err := v.answer(r); resp != nil || err != nil {
		return resp, err
	}
	return v.RoundTripper.RoundTrip(r)
}

func answered(status int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(text))),
	}, err
}

// page is a list of the provider's with nothing after it.
func page(things ...any) (*http.Response, error) {
	return answered(http.StatusOK, map[string]any{"object": "list", "data": append([]any{}, things...), "has_more": false})
}

// hiding keeps a refund out of the provider's lists that are asked for with a parameter.
func hiding(id *atomic.Pointer[string], lists string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return through(func(r *http.Request) (*http.Response, error) {
			hidden := id.Load()
			if hidden == nil || r.Method != http.MethodGet || r.URL.Path != "/v1/refunds" || !r.URL.Query().Has(lists) {
				return nil, nil
			}
			resp, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			var list struct{ Data []map[string]any }
			if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
				return nil, err
			}
			var left []any
			for _, refund := range list.Data {
				if refund["id"] != *hidden {
					left = append(left, refund)
				}
			}
			return page(left...)
		})(next)
	}
}

// reworded is an answer with something else in it.
func reworded(resp *http.Response, err error, old, text string) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), old, text))), -1
	return resp, err
}
