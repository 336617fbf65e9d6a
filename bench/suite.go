package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// suiteMost bounds the whole of it, besides what filling the database takes.
const suiteMost = 45 * time.Minute

type suiteRun struct {
	Server        string   `json:"-" default:"../bin/frenchpress" help:"The program to measure."`
	Out           string   `json:"-" default:"../docs/bench" help:"Directory for results and charts."`
	Readme        string   `json:"-" default:"../README.md" help:"File that holds the table, between two marks."`
	Stores        int      `default:"31048" help:"Stores of the chain."`
	PastOrders    int      `default:"1000000" help:"Finished orders for the runs on a full database; 0 leaves them out."`
	LifecycleRate float64  `default:"1000" help:"Whole orders a second."`
	PlaceRate     float64  `default:"6000" help:"Placings a second."`
	Watchers      int      `default:"10000" help:"Live streams."`
	Clients       int      `default:"512" help:"Customers at once where the most is looked for."`
	Only          []string `help:"Run these alone (menu, lifecycle, groups, place, pgbench, watch, overload, stores, past)."`
	Short         bool     `help:"Each run a few seconds long, for trying out: the figures mean little."`
}

// bench is a suite under way.
type bench struct {
	*suiteRun
	shop    *server
	results *Results
	faults  []string // of the runs since the last rows
	told    bool     // the rows of those runs are there
}

// scenario is one thing that the suite measures.
type scenario struct {
	name string
	run  func(*bench, context.Context) error
}

// scenarios are all of them, those that fill the database last.
var scenarios = []scenario{
	{"menu", (*bench).menus},
	{"lifecycle", (*bench).lifecycle},
	{"groups", (*bench).groups},
	{"place", (*bench).place},
	{"pgbench", (*bench).limit},
	{"watch", (*bench).watch},
	{"overload", (*bench).overload},
	{"stores", (*bench).stores},
	{"past", (*bench).past},
}

// Run measures, and writes what it has measured even if something failed.
func (s *suiteRun) Run(ctx context.Context) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	// The first interrupt begins an orderly end; a second one must not leave servers behind. All waiting is bounded.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, suiteMost+time.Duration(s.PastOrders)*time.Millisecond)
	defer cancel()
	b := &bench{suiteRun: s, results: &Results{Began: time.Now().UTC(), Short: s.Short, Settings: s}}
	if b.shop, err = openServer(ctx, s.Server, s.Stores); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.shop.close()) }()
	b.results.Machine = machine(ctx, b.shop)
	for _, scenario := range scenarios {
		if len(s.Only) == 0 || slices.Contains(s.Only, scenario.name) {
			b.run(ctx, scenario.name, scenario.run)
		}
	}
	b.results.print(os.Stdout)
	return errors.Join(b.results.write(s.Out), b.writeReadme(ctx), b.results.check(), ctx.Err())
}

func (s *suiteRun) check() error {
	if s.Stores < 1 || s.PastOrders < 0 || s.LifecycleRate <= 0 || s.PlaceRate <= 0 || s.Watchers < 1 || s.Clients < 1 {
		return errors.New("stores, rates, watchers and clients must be above 0, past orders from 0")
	}
	for _, name := range s.Only {
		if !slices.ContainsFunc(scenarios, func(one scenario) bool { return one.name == name }) {
			return fmt.Errorf("there is no %q", name)
		}
	}
	if _, err := readTable(s.Readme, benchMarks); err != nil {
		return err
	}
	server, err := filepath.Abs(s.Server)
	if err != nil {
		return err
	}
	s.Server = server
	_, err = os.Stat(server)
	return err
}

// run runs a scenario. What the checks of its runs found stands in each of their rows, or in one of the scenario's own, as
// does why it could not go on.
func (b *bench) run(ctx context.Context, name string, scenario func(*bench, context.Context) error) {
	if ctx.Err() != nil {
		return
	}
	err := cmp.Or(scenario(b, ctx), ctx.Err())
	if len(b.faults) > 0 && !b.told {
		b.add(Row{What: name})
	}
	if err != nil {
		b.results.add(Row{What: name, Outcome: failure(err.Error())})
	}
	b.faults = nil
}

// add is a row of what the last runs found. If they failed it says so, the first of them why.
func (b *bench) add(row Row) {
	if len(b.faults) > 0 {
		missed := row.Outcome
		row.Outcome = "failed"
		if !b.told {
			row.Outcome = failure(strings.Join(b.faults, "; "))
		}
		if strings.HasPrefix(missed, "missed") {
			row.Outcome = strings.Replace(row.Outcome, "failed", "failed, "+missed, 1)
		}
	}
	b.told = true
	b.results.add(row)
}

// note takes note of what the checks of a run found, nothing or a fault. Where there are rows already it is the first run of
// the next ones.
func (b *bench) note(fault string) {
	if b.told {
		b.faults, b.told = nil, false
	}
	if fault != "" {
		b.faults = append(b.faults, fault)
	}
}

// failure is one line, and not too long for a table.
func failure(why string) string {
	return fmt.Sprintf("failed: %.300s", strings.Join(strings.Fields(why), " "))
}

// writeReadme puts the table into the README, unless it was only tried out, or somebody ended the suite before it was whole.
func (b *bench) writeReadme(ctx context.Context) error {
	if b.Short || errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return writeTable(b.Readme, benchMarks, b.results.markdown())
}

// lasts is how long a run goes on.
func (b *bench) lasts(usual time.Duration) time.Duration {
	if b.Short {
		return min(usual, 4*time.Second)
	}
	return usual
}
