package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
)

const (
	slowFor       = 5 * time.Second // tok_slow
	flakyRefusals = 2               // tok_flaky
)

// ProviderCharge is what the provider says of a charge.
type ProviderCharge struct {
	Ref        string // the provider's name of it
	Processing bool
	Succeeded  bool
	Failure    string
}

// errProvider is the provider's 500: nothing was done or kept.
var errProvider = errors.New("provider: 500 internal server error")

// Sandbox is the built-in card provider: the world outside, with books of its own that outlive our
// process and are shared by all of them. Like a real one it knows a charge by its idempotency key.
type Sandbox struct {
	pool    *pgxpool.Pool
	charges *db.Group[string, *sandboxCharge, *sandboxCharge]
}

type sandboxCharge struct {
	key, reference, token string
	amount                int64
	outcome, failure      string
	settlesAt             time.Time
}

// NewSandbox opens the sandbox's books.
func NewSandbox(pool *pgxpool.Pool) *Sandbox {
	s := &Sandbox{pool: pool}
	s.charges = db.NewGroup(db.GroupSize{}, func(c *sandboxCharge) string { return c.key }, s.book)
	return s
}

// Close waits for charges being booked.
func (s *Sandbox) Close(ctx context.Context) { _ = s.charges.Close(ctx) }

// Charge charges a card token once per key, however often it is called; the amount is in minor units.
// The error is the context's when no answer came in time: then only LookUp knows. Any other error means
// that nothing was done.
func (s *Sandbox) Charge(ctx context.Context, key, reference string, amount int64, token string) (*ProviderCharge, error) {
	charge := &sandboxCharge{key: key, reference: reference, token: token, amount: amount, outcome: "succeeded", settlesAt: time.Now()}
	switch token {
	case "tok_visa", "tok_timeout":
	case "tok_slow":
		charge.settlesAt = charge.settlesAt.Add(slowFor)
	case "tok_declined":
		charge.outcome, charge.failure = "failed", "card_declined"
	case "tok_flaky":
		if err := s.refuse(ctx, key); err != nil {
			return nil, err
		}
	default:
		charge.outcome, charge.failure = "failed", "invalid_token"
	}
	booked, err := s.charges.Do(ctx, charge)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	if booked.amount != amount || booked.token != token {
		return nil, fmt.Errorf("provider: key %s was used for another charge", key)
	}
	wait := time.Until(booked.settlesAt)
	if token == "tok_timeout" {
		wait = time.Hour
	}
	select {
	case <-time.After(max(0, wait)):
		return booked.said(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refuse fails the first calls under a key.
func (s *Sandbox) refuse(ctx context.Context, key string) error {
	var refused int
	err := s.pool.QueryRow(ctx, `
    insert into sandbox.refusals as r (key, refused)
    values ($1, 1)
    on conflict (key) do update set refused = r.refused + 1
    returning refused`, key).Scan(&refused)
	if err != nil || refused > flakyRefusals {
		return err
	}
	return errProvider
}

// book writes a group of charges into the ledger; a key that stands there already keeps its first charge.
func (s *Sandbox) book(ctx context.Context, group []*sandboxCharge) ([]db.Result[*sandboxCharge], error) {
	var keys, references, tokens, outcomes, failures []string
	var amounts []int64
	var settles []time.Time
	for _, c := range group {
		keys, references, tokens = append(keys, c.key), append(references, c.reference), append(tokens, c.token)
		outcomes, failures = append(outcomes, c.outcome), append(failures, c.failure)
		amounts, settles = append(amounts, c.amount), append(settles, c.settlesAt)
	}
	tag, err := s.pool.Exec(ctx, `
    insert into sandbox.charges (key, reference, amount, token, outcome, failure, settles_at)
    select key, reference, amount, token, outcome, nullif(failure, ''), settles_at
    from unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
         as v (key, reference, amount, token, outcome, failure, settles_at)
    order by key
    on conflict do nothing`, keys, references, amounts, tokens, outcomes, failures, settles)
	if err != nil {
		return nil, err
	}
	results := make([]db.Result[*sandboxCharge], len(group))
	if int(tag.RowsAffected()) == len(group) {
		for i, c := range group {
			results[i].Answer = c
		}
		return results, nil
	}
	booked, err := s.read(ctx, keys)
	for i, c := range group {
		results[i].Answer = booked[c.key]
	}
	return results, err
}

func (s *Sandbox) read(ctx context.Context, keys []string) (map[string]*sandboxCharge, error) {
	rows, err := s.pool.Query(ctx, `
    select key, reference, token, amount, outcome, coalesce(failure, ''), settles_at
    from sandbox.charges
    where key = any($1)`, keys)
	if err != nil {
		return nil, err
	}
	charges, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*sandboxCharge, error) {
		c := new(sandboxCharge)
		return c, row.Scan(&c.key, &c.reference, &c.token, &c.amount, &c.outcome, &c.failure, &c.settlesAt)
	})
	booked := make(map[string]*sandboxCharge, len(charges))
	for _, c := range charges {
		booked[c.key] = c
	}
	return booked, err
}

func (c *sandboxCharge) said() *ProviderCharge {
	return &ProviderCharge{
		Ref:        "sandbox:" + c.key,
		Processing: time.Now().Before(c.settlesAt),
		Succeeded:  c.outcome == "succeeded",
		Failure:    c.failure,
	}
}

// LookUp is what became of a key, nil if nothing was ever done under it.
func (s *Sandbox) LookUp(ctx context.Context, key string) (*ProviderCharge, error) {
	booked, err := s.read(ctx, []string{key})
	if err != nil || booked[key] == nil {
		return nil, err
	}
	return booked[key].said(), nil
}

// Refund gives an amount of a charge back, once per key. More than is left of the charge is refused for good.
func (s *Sandbox) Refund(ctx context.Context, key, chargeKey string, amount int64) error {
	var booked bool
	err := s.pool.QueryRow(ctx, `
    with left_over as (
        select c.amount - coalesce((select sum(r.amount) from sandbox.refunds r where r.charge_key = c.key), 0) as amount
        from sandbox.charges c
        where c.key = $2
    ), booked as (
        insert into sandbox.refunds (key, charge_key, amount)
        select $1, $2, $3::int8
        from left_over
        where amount >= $3::int8
        on conflict (key) do nothing
        returning key
    )
    select exists (select from booked) or exists (select from sandbox.refunds where key = $1)`, key, chargeKey, amount).Scan(&booked)
	switch {
	case err != nil:
		return fmt.Errorf("provider: %w", err)
	case !booked:
		return errRefundFailed{"charge_already_refunded"}
	}
	return nil
}
