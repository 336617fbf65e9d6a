package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// providerKey is any that the sandbox takes.
	providerKey = "sk_chaos"
	// webhookSecret signs what the provider tells.
	webhookSecret = "whsec_chaos"
	// entriesAtOnce is how many lines of the provider's ledger are read at a time.
	entriesAtOnce = 10_000
)

// cardProvider is the sandbox in a process and a directory of its own, with a ledger that the shop cannot write.
type cardProvider struct {
	url     string
	process *child
	log     *os.File
	link    *link // from the shop
}

// openProvider starts the provider. It tells the first process of the shop of what happens.
func openProvider(ctx context.Context, program, root, shopPort string) (*cardProvider, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(root, "provider.log"))
	if err != nil {
		return nil, err
	}
	p := &cardProvider{url: "http://127.0.0.1:" + port, log: log}
	command := exec.CommandContext(context.Background(), program, "sandbox", "--listen", "127.0.0.1:"+port, // it ends when told to
		"--dir", filepath.Join(root, "provider"), "--webhook", "http://127.0.0.1:"+shopPort+"/v1/payments/webhook", "--webhook-secret", webhookSecret)
	command.Env = os.Environ()
	if p.process, err = startChild(command, log); err != nil {
		return p, err
	}
	if p.link, err = openLink("provider", "127.0.0.1:"+port); err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	for {
		if _, err := p.get(ctx, "/sandbox/ledger?limit=1"); err == nil {
			return p, nil
		}
		if err := pause(ctx, readyEvery); err != nil || p.process.ended() {
			return p, faultf("provider", "it does not answer: %s", lastWordsOf(log))
		}
	}
}

// settings are how the shop finds the provider.
func (p *cardProvider) settings() []string {
	return []string{"PAYMENT_URL=http://127.0.0.1:" + p.link.port(), "PAYMENT_KEY=" + providerKey, "PAYMENT_WEBHOOK_SECRET=" + webhookSecret}
}

// confusion is what goes wrong with 30 % of the calls, and of the messages.
const confusion = `{"seed": %d, "timeout_before": 0.05, "timeout_after": 0.05, "error_before": 0.05, "error_after": 0.05, "rate_limited": 0.05,
    "reset": 0.05, "webhook_duplicated": 0.1, "webhook_reordered": 0.05, "webhook_early": 0.05, "webhook_never": 0.05, "webhook_bad_signature": 0.03,
    "webhook_stale": 0.02}`

// confuse makes the provider misbehave for a while.
func (p *cardProvider) confuse(ctx context.Context, seed uint64, how time.Duration) error {
	if _, err := p.ask(ctx, http.MethodPut, "/sandbox/faults", fmt.Sprintf(confusion, seed)); err != nil {
		return err
	}
	err := pause(ctx, how)
	_, healed := p.ask(context.WithoutCancel(ctx), http.MethodPut, "/sandbox/faults", "{}")
	return errors.Join(err, healed)
}

func (p *cardProvider) get(ctx context.Context, path string) ([]byte, error) {
	return p.ask(ctx, http.MethodGet, path, "")
}

func (p *cardProvider) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+providerKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, answer.Status, said)
	}
	return said, err
}

// moved is all the money that the provider moved, as its ledger says.
func (p *cardProvider) moved(ctx context.Context) (all []movement, err error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	for after, more := int64(0), true; more; {
		page, err := p.get(ctx, fmt.Sprintf("/sandbox/ledger?limit=%d&after=%d", entriesAtOnce, after))
		if err != nil {
			return nil, fmt.Errorf("reading the provider's ledger: %w", err)
		}
		more = false
		for lines := json.NewDecoder(strings.NewReader(string(page))); ; more = true {
			var entry struct {
				Seq      int64
				Kind     string
				Amount   int64
				Metadata map[string]string
			}
			if err := lines.Decode(&entry); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("reading the provider's ledger: %w", err)
			}
			after = entry.Seq
			if entry.Kind == "captured" || entry.Kind == "refunded" {
				_, order, _ := strings.Cut(entry.Metadata["order"], "/")
				all = append(all, movement{order, entry.Kind == "refunded", entry.Amount})
			}
		}
	}
	return all, nil
}

func (p *cardProvider) close() error {
	if p == nil {
		return nil
	}
	var err error
	if p.process != nil {
		err = p.process.end(syscall.SIGTERM)
	}
	p.link.close()
	return errors.Join(err, p.log.Close())
}
