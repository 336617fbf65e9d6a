package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// chaosFault is something that breaks. The function breaks it and makes it whole again; that everything serves
// afterwards is looked at for all of them alike.
type chaosFault struct {
	name        string
	processes   int // of the shop, 0: either
	short, long int // how often
	run         func(*chaos, context.Context, *rand.Rand) error
}

var chaosFaults = []chaosFault{
	{"kill -9 of the only process", 1, 4, 100, (*chaos).killShop},
	{"kill -9 of one of two processes, or both", 2, 4, 100, (*chaos).killShop},
	{"PostgreSQL: kill -9", 0, 2, 50, (*chaos).killPostgres},
	{"PostgreSQL: immediate stop", 0, 1, 20, (*chaos).stopPostgres},
	{"PostgreSQL: SIGSTOP for 10 s", 0, 1, 20, (*chaos).stallPostgres},
	{"notification connections cut", 0, 3, 100, (*chaos).cutListeners},
	{"shop to database: latency", 0, 1, 10, spoil(toDatabase, "latency")},
	{"shop to database: reset", 0, 1, 10, spoil(toDatabase, "reset")},
	{"shop to database: black hole for 30 s (short form 6 s)", 0, 1, 10, spoil(toDatabase, "black hole")},
	{"clients to shop: latency", 0, 1, 10, spoil(toShop, "latency")},
	{"clients to shop: reset", 0, 1, 10, spoil(toShop, "reset")},
	{"clients to shop: black hole for 30 s (short form 6 s)", 0, 1, 10, spoil(toShop, "black hole")},
	{"shop to provider: latency", 0, 1, 10, spoil(toProvider, "latency")},
	{"shop to provider: reset", 0, 1, 10, spoil(toProvider, "reset")},
	{"shop to provider: black hole for 30 s (short form 6 s)", 0, 1, 10, spoil(toProvider, "black hole")},
	{"30 % of the provider's answers and messages go wrong for 10 s", 0, 1, 20, (*chaos).confuseProvider},
	{"poison jobs, seven kinds", 0, 2, 20, (*chaos).poisonJobs},
	{"killed: intents made", 0, 1, 20, killAt("create")},
	{"killed: intents stored", 0, 1, 20, killAt("store")},
	{"killed: intents confirmed", 0, 1, 20, killAt("confirm")},
	{"killed: charges settled", 0, 1, 20, killAt("settle")},
	{"killed: an intent cancelled", 0, 1, 20, killAt("cancel")},
	{"killed: refunded", 0, 1, 20, killAt("refund")},
	{"killed: a refund settled", 0, 1, 20, killAt("settle refund")},
	{"killed: a message taken", 0, 1, 20, killAt("take")},
	{"killed: a message's intent read", 0, 1, 20, killAt("hear")},
}

const (
	stallFor     = 10 * time.Second
	latencyFor   = 2 * time.Second
	holeFor      = 30 * time.Second
	holeForShort = 6 * time.Second
	confusedFor  = 10 * time.Second
	downMost     = 1500 * time.Millisecond // between a kill and the next start

	passesMost    = 3 // of a boundary before the process dies there
	reachedWithin = 45 * time.Second
)

// down is how long something stays dead.
func down(random *rand.Rand) time.Duration { return time.Duration(random.Int64N(int64(downMost))) }

// killShop kills a process of the shop, or all of them at once.
func (c *chaos) killShop(ctx context.Context, random *rand.Rand) error {
	dying := []*counter{c.counters[random.IntN(len(c.counters))]}
	if random.IntN(3) == 0 {
		dying = slices.Clone(c.counters)
	}
	for _, s := range dying {
		if err := s.process.kill(); err != nil {
			return err
		}
	}
	if err := pause(ctx, down(random)/3); err != nil {
		return err
	}
	for _, s := range dying {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) killPostgres(ctx context.Context, random *rand.Rand) error {
	return c.revivePostgres(ctx, random, c.postgres.kill())
}

func (c *chaos) stopPostgres(ctx context.Context, random *rand.Rand) error {
	return c.revivePostgres(ctx, random, c.postgres.stopAtOnce())
}

func (c *chaos) revivePostgres(ctx context.Context, random *rand.Rand, ended error) error {
	if ended != nil {
		return ended
	}
	if err := pause(ctx, down(random)); err != nil {
		return err
	}
	return c.postgres.start(ctx)
}

func (c *chaos) stallPostgres(ctx context.Context, _ *rand.Rand) error {
	return c.postgres.stall(ctx, stallFor)
}

func (c *chaos) cutListeners(ctx context.Context, _ *rand.Rand) error {
	cut, err := c.postgres.cutListeners(ctx)
	if err == nil && cut == 0 {
		err = pause(ctx, time.Second) // one that was cut a moment ago is not back yet
		if err == nil {
			cut, err = c.postgres.cutListeners(ctx)
		}
	}
	if err == nil && cut == 0 {
		err = errors.New("no process listens")
	}
	return err
}

func (c *chaos) lasts(toxic string) time.Duration {
	switch {
	case toxic != "black hole":
		return latencyFor
	case c.Short:
		return holeForShort
	}
	return holeFor
}

// spoil makes a piece of the network bad for a while.
func spoil(where func(*chaos, *rand.Rand) *link, toxic string) func(*chaos, context.Context, *rand.Rand) error {
	return func(c *chaos, ctx context.Context, random *rand.Rand) error {
		return where(c, random).spoil(ctx, toxic, c.lasts(toxic))
	}
}

func toDatabase(c *chaos, _ *rand.Rand) *link  { return c.toDatabase }
func toProvider(c *chaos, _ *rand.Rand) *link  { return c.provider.link }
func toShop(c *chaos, random *rand.Rand) *link { return c.counters[random.IntN(len(c.counters))].link }

func (c *chaos) confuseProvider(ctx context.Context, random *rand.Rand) error {
	return c.provider.confuse(ctx, random.Uint64N(1<<32), confusedFor)
}

// killAt has the first process, which the provider's messages come to, die when it passes a boundary of the payment path
// for the first, second or third time.
func killAt(boundary string) func(*chaos, context.Context, *rand.Rand) error {
	return func(c *chaos, ctx context.Context, random *rand.Rand) error {
		s := c.counters[0]
		if err := s.process.kill(); err != nil {
			return err
		}
		if err := s.start(fmt.Sprintf("FAILPOINT=%s:%d", boundary, 1+random.IntN(passesMost))); err != nil {
			return err
		}
		select {
		case <-s.process.gone:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reachedWithin):
			return errors.Join(faultf("process", "the boundary %q was not reached within %s: is the program built with failpoints?", boundary, reachedWithin), s.process.kill(), s.start())
		}
		return s.start()
	}
}

func (c *chaos) poisonJobs(ctx context.Context, _ *rand.Rand) error { return c.postgres.poison(ctx) }

// plan is what breaks while so many processes run, in an order that the seed decides. What may break with either
// number is split between the two.
func (c *chaosRun) plan(processes int, random *rand.Rand) (plan []chaosFault) {
	for _, fault := range chaosFaults {
		if len(c.Only) > 0 && !slices.Contains(c.Only, fault.name) {
			continue
		}
		times := int(math.Ceil(c.Share * float64(fault.long)))
		if c.Short {
			times = fault.short
		}
		switch {
		case fault.processes == 0 && processes == 1:
			times /= 2
		case fault.processes == 0:
			times -= times / 2
		case fault.processes != processes:
			times = 0
		}
		for range times {
			plan = append(plan, fault)
		}
	}
	random.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}

// breakOne lets one thing break, and looks whether everybody serves again.
func (c *chaos) breakOne(ctx context.Context, fault chaosFault, random *rand.Rand) error {
	begun := time.Now()
	if err := fault.run(c, ctx, random); err != nil {
		return fmt.Errorf("%s: %w", fault.name, err)
	}
	whole := time.Now()
	for _, s := range c.counters {
		if err := s.awaitReady(ctx); err != nil {
			return fmt.Errorf("after %q: %w", fault.name, err)
		}
	}
	c.lastFault = time.Now() // what is to be finished within a minute can begin now
	recovery := c.lastFault.Sub(whole)
	c.result.met(fault.name, recovery)
	fmt.Fprintf(c.progress, "%6.1f s  %-55s %5.1f s, ready after %.2f s; %d orders\n", time.Since(c.begun).Seconds(), fault.name,
		whole.Sub(begun).Seconds(), recovery.Seconds(), c.orders.Load())
	return nil
}
