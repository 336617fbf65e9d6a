package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"frenchpress/db"
	"frenchpress/jobs"
	"frenchpress/jobs/sandbox"
)

// dataDir is one for all processes on a test's database; it goes with the cluster.
func dataDir(t testing.TB, databaseURL string) string {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return config.Host
}

// bank is the built-in provider of a database, as one more process sees it.
type bank struct{ http.RoundTripper }

func openBank(t *testing.T, databaseURL string) bank {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	name, err := db.Name(t.Context(), conn)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	transport, books, err := sandbox.Share(filepath.Join(dataDir(t, databaseURL), "sandbox", name), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := books.Close(); err != nil {
			t.Error(err)
		}
	})
	return bank{transport}
}

// provider asks the bank as the shop does.
func (b bank) provider() *jobs.Provider {
	return jobs.NewProvider(sandboxURL, sandboxKey, b, slog.New(slog.DiscardHandler))
}

func (b bank) call(t *testing.T, method, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, sandboxURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sandboxKey)
	resp, err := b.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, body, err)
	}
	return body
}

// movement is a line of the provider's ledger.
type movement struct {
	Seq                  int64
	Kind, Intent, Refund string
	Amount               int64
	Metadata             map[string]string
}

// ledgerPage is how many lines are read at a time.
const ledgerPage = "10000"

// ledger is all that happened at the provider.
func (b bank) ledger(t *testing.T) (all []movement) {
	t.Helper()
	after := int64(0)
	for {
		page := json.NewDecoder(strings.NewReader(string(b.call(t, "GET", "/sandbox/ledger?limit="+ledgerPage+"&after="+strconv.FormatInt(after, 10)))))
		n := 0
		for {
			var m movement
			if err := page.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			all, after = append(all, m), m.Seq
			n++
		}
		if n == 0 {
			return all
		}
	}
}

// account is what the provider's ledger says of one order.
type account struct {
	Intents, Charges, Refunds int
	Charged, GivenBack        int64
}

// accounts are those of all orders by their ids.
func (b bank) accounts(t *testing.T) map[string]account {
	t.Helper()
	all := map[string]account{}
	for _, m := range b.ledger(t) {
		_, order, _ := strings.Cut(m.Metadata["order"], "/")
		a := all[order]
		switch m.Kind {
		case "created":
			a.Intents++
		case "captured":
			a.Charges++
			a.Charged += m.Amount
		case "refunded":
			a.Refunds++
			a.GivenBack += m.Amount
		}
		all[order] = a
	}
	return all
}

// intent is the newest of an order, with its state; empty as long as there is none.
func (b bank) intent(t *testing.T, reference string) (id, status string) {
	t.Helper()
	var found struct {
		Data []struct{ ID, Status string }
	}
	if err := json.Unmarshal(b.call(t, "GET", "/sandbox/intents?metadata[order]="+url.QueryEscape(reference)), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Data) == 0 {
		return "", ""
	}
	return found.Data[0].ID, found.Data[0].Status
}

// setFaults says how the provider misbehaves from now on, as JSON.
func (b bank) setFaults(t *testing.T, faults string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, sandboxURL+"/sandbox/faults", strings.NewReader(faults))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sandboxKey)
	resp, err := b.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
}
