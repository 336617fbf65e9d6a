package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
)

const (
	// chaosMost bounds a run: the long form takes about an hour, the short one less than three minutes.
	chaosMost      = 3 * time.Hour
	chaosMostShort = 10 * time.Minute
	// roundOf is how many things break before everything is checked.
	roundOf = 25
	// breatheMost is how long nothing breaks in between.
	breatheMost = 1500 * time.Millisecond
	// guestRest is how long a guest waits at most before the next order.
	guestRest = 300 * time.Millisecond
)

type chaosRun struct {
	Server string   `json:"-" default:"../bin/frenchpress-failpoints" help:"The program to break, built with failpoints."`
	Seed   uint64   `help:"Of everything that is drawn; 0 takes one from the clock, and it is printed."`
	Orders int64    `default:"50000" help:"Orders at least. The short form has as many as come while things break."`
	Share  float64  `default:"1" help:"Of how often the long form breaks each thing, at least once."`
	Guests int      `default:"160" help:"Customers at a time."`
	Stores int      `default:"6" help:"Stores."`
	Only   []string `sep:";" help:"Break these alone, by their names in the table; separated by semicolons."`
	Short  bool     `help:"A few of each, in less than three minutes."`
	Keep   bool     `json:"-" help:"Leave the directory with database, logs and acknowledgements, and say where it is."`
	JSON   string   `json:"-" name:"json" help:"File for the full result."`
	Readme string   `json:"-" help:"File that gets the table, between two marks; after the long form alone."`
}

// chaos is a run under way.
type chaos struct {
	*chaosRun
	program, root, mark, database string
	stores                        []*Store
	admin                         string // token of staff
	log                           *os.File
	postgres                      *postgres
	toDatabase                    *link
	acks                          *acks
	provider                      *cardProvider
	faults                        *Faults // of answers
	result                        *chaosResult
	progress                      io.Writer
	begun, lastFault              time.Time

	orders, gaveUp, broken, later, internal, reconnects atomic.Int64

	mu       sync.Mutex
	counters []*counter // one more between rounds, when no guest is there but screens still are
	watches  []*watch

	watching context.Context
	watchers sync.WaitGroup
	screens  chan struct{}
}

// Run breaks things and checks what became of the orders.
func (s *chaosRun) Run(ctx context.Context) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	// As in the suite: a second interrupt must not leave servers behind.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	most := chaosMost
	if s.Short {
		most = chaosMostShort
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	c, err := s.open(ctx)
	defer func() { err = errors.Join(err, c.close()) }()
	if err != nil {
		return err
	}
	err = c.rounds(ctx)
	c.sumUp()
	c.result.print(os.Stdout)
	return errors.Join(err, c.result.write(s), c.result.failure())
}

func (s *chaosRun) check() (err error) {
	if s.Guests < 1 || s.Guests > 1000 || s.Stores < 1 || s.Stores > 1000 || s.Orders < 0 || s.Orders > maxAccepted {
		return errors.New("guests and stores must be from 1 to 1000, orders from 0 to 5,000,000")
	}
	if s.Share <= 0 || s.Share > 1 {
		return errors.New("the share must be above 0 and at most 1")
	}
	for _, name := range s.Only {
		if !slices.ContainsFunc(chaosFaults, func(f chaosFault) bool { return f.name == name }) {
			return fmt.Errorf("there is no %q", name)
		}
	}
	if s.Readme != "" {
		if _, err := readTable(s.Readme, chaosMarks); err != nil {
			return err
		}
	}
	if s.Seed == 0 {
		s.Seed = uint64(time.Now().UnixNano())
	}
	if s.Server, err = filepath.Abs(s.Server); err != nil {
		return err
	}
	_, err = os.Stat(s.Server)
	return err
}

// open starts the database, the network and the first process of the shop. What was opened is given back with an
// error too.
func (s *chaosRun) open(ctx context.Context) (*chaos, error) {
	c := &chaos{chaosRun: s, program: s.Server, mark: uuid.NewString()[:8], faults: &Faults{}, progress: os.Stderr, begun: time.Now(),
		screens: make(chan struct{}, watchersMost), result: newChaosResult(s)}
	fmt.Fprintf(c.progress, "chaos with seed %d\n", s.Seed)
	var err error
	if c.root, err = os.MkdirTemp("/var/tmp", "frenchpress-chaos-"); err != nil {
		return c, err
	}
	if err := os.Chmod(c.root, 0o755); err != nil { // PostgreSQL may run as another user
		return c, err
	}
	if c.log, err = os.Create(filepath.Join(c.root, "postgres.log")); err != nil {
		return c, err
	}
	if c.acks, err = openAcks(filepath.Join(c.root, "acks")); err != nil {
		return c, err
	}
	if c.postgres, err = openPostgres(ctx, c.root, c.log); err != nil {
		return c, err
	}
	if c.toDatabase, err = openLink("database", net.JoinHostPort("127.0.0.1", c.postgres.port)); err != nil {
		return c, err
	}
	c.database = c.postgres.urlOf("frenchpress", c.toDatabase.port())
	first, err := freePort(ctx)
	if err != nil {
		return c, err
	}
	if c.provider, err = openProvider(ctx, c.program, c.root, first); err != nil {
		return c, err
	}
	if err := c.add(ctx, first); err != nil {
		return c, err
	}
	return c, c.furnish(ctx)
}

// add starts another process of the shop.
func (c *chaos) add(ctx context.Context, port string) error {
	s, err := c.openCounter(ctx, fmt.Sprintf("shop-%d", len(c.counters)+1), port)
	if s != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counters = append(c.counters, s)
	}
	return err
}

// pool is the way to any process of the shop.
func (c *chaos) pool() *Pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counters[rand.IntN(len(c.counters))].pool
}

// rounds breaks everything that is planned with one process, and then with two.
func (c *chaos) rounds(ctx context.Context) error {
	var end context.CancelFunc
	c.watching, end = context.WithCancel(ctx)
	defer func() {
		end()
		c.watchers.Wait()
	}()
	for processes := 1; processes <= 2; processes++ {
		if processes > len(c.counters) {
			port, err := freePort(ctx)
			if err != nil {
				return err
			}
			if err := c.add(ctx, port); err != nil {
				return err
			}
		}
		plan := c.plan(processes, rand.New(rand.NewPCG(c.Seed, uint64(processes))))
		size := roundOf
		if c.Short {
			size = len(plan) + 1
		}
		for part := range slices.Chunk(plan, size) {
			if err := c.round(ctx, part); err != nil {
				return err
			}
		}
	}
	if c.Short { // no time to wait twice, and the checks at its end are about all orders
		return c.inspect(ctx)
	}
	return c.fillUp(ctx)
}

// round lets some things break while guests come, and then checks everything once it is quiet.
func (c *chaos) round(ctx context.Context, plan []chaosFault) error {
	leave := c.serve(ctx)
	err := c.breakAll(ctx, plan)
	leave()
	if c.Short {
		return err
	}
	return errors.Join(err, c.inspect(ctx))
}

func (c *chaos) breakAll(ctx context.Context, plan []chaosFault) error {
	random := rand.New(rand.NewPCG(c.Seed, uint64(100+10*len(c.result.Rounds)+len(c.counters))))
	for _, fault := range plan {
		if err := pause(ctx, time.Duration(random.Int64N(int64(breatheMost)))); err != nil {
			return err
		}
		if err := c.breakOne(ctx, fault, random); err != nil {
			return err
		}
	}
	return nil
}

// fillUp serves guests without anything breaking until there were enough of them.
func (c *chaos) fillUp(ctx context.Context) error {
	if c.orders.Load() >= c.Orders {
		return nil
	}
	fmt.Fprintf(c.progress, "%d of %d orders: guests come until there are enough\n", c.orders.Load(), c.Orders)
	leave := c.serve(ctx)
	for c.orders.Load() < c.Orders && ctx.Err() == nil {
		_ = pause(ctx, settlePause) // the loop looks at the context itself
	}
	leave()
	c.lastFault = time.Now()
	return c.inspect(ctx)
}

// serve lets guests come until the shop is closed, which the function returned does.
func (c *chaos) serve(ctx context.Context) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range c.Guests {
		all.Go(func() {
			random := rand.New(rand.NewPCG(c.Seed, uint64(1000*(len(c.result.Rounds)+len(c.counters))+i)))
			for ctx.Err() == nil {
				c.blame(c.visit(ctx, random))
				_ = pause(ctx, time.Duration(random.Int64N(int64(guestRest)))) // the loop looks at the context itself
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

func (c *chaos) close() error {
	var errs []error
	for _, s := range c.counters {
		errs = append(errs, s.close())
	}
	c.toDatabase.close()
	errs = append(errs, c.provider.close(), c.postgres.close())
	if c.acks != nil {
		errs = append(errs, c.acks.file.Close())
	}
	if c.log != nil {
		errs = append(errs, c.log.Close())
	}
	if c.Keep || c.root == "" {
		fmt.Fprintln(c.progress, "everything is in", c.root)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(c.root))...)
}
