package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
)

// Settings are those of every scenario.
type Settings struct {
	Target    string         `default:"http://127.0.0.1:8080" help:"Where the shop listens."`
	Devices   string         `required:"" help:"File of lines 'slug token', as 'pair --all' prints them."`
	Rate      float64        `default:"100" help:"Arrivals a second."`
	Duration  time.Duration  `default:"60s" help:"How long customers arrive, where there are no bursts."`
	Poisson   bool           `help:"Arrivals independent of each other instead of evenly spaced."`
	Seed      uint64         `default:"1" help:"Of stores, baskets and independent arrivals."`
	Stores    int            `help:"Use the first N stores only; 0 is all."`
	Method    Payment        `enum:"card,counter,both" default:"card" help:"How orders are paid: card, counter or both (${enum})."`
	Email     bool           `help:"Customers leave an address, so that they are sent messages."`
	Transport string         `enum:"sse,ws" default:"sse" help:"Of live streams: server-sent events or WebSocket (${enum})."`
	Pid       map[string]int `mapsep:"," placeholder:"NAME=PID" help:"Process to account for, with its descendants; repeatable."`
	JSON      string         `name:"json" help:"File for the full result."`
	Charts    string         `help:"Directory for charts."`
	Database  string         `help:"PostgreSQL of the target: refuse to measure if it is not durable."`
	Source    []string       `help:"Local addresses to connect from."`
	InFlight  int            `default:"20000" help:"Orders in flight at most."`
	Drain     time.Duration  `default:"30s" help:"How long to wait at the end for what is in flight."`
	ReadBack  bool           `help:"Compare with the stores' history afterwards also where streams have shown the end of each order."`
}

// load makes a load of the settings.
func (s *Settings) load(ctx context.Context) (*Load, error) {
	switch {
	case !(s.Rate > 0) || s.Duration <= 0 || s.InFlight <= 0 || s.Stores < 0:
		return nil, fmt.Errorf("rate, duration and in-flight must be above 0, stores from 0")
	case s.Rate*s.Duration.Seconds() > maxArrivals:
		return nil, fmt.Errorf("more than %d arrivals", maxArrivals)
	}
	if s.Database != "" {
		if err := checkDurability(ctx, s.Database); err != nil {
			return nil, err
		}
	}
	stores, err := readStores(s.Devices, s.Stores)
	if err != nil {
		return nil, err
	}
	pool, err := NewPool(s.Target, s.Source)
	if err != nil {
		return nil, err
	}
	processes, err := watchProcesses(s.Pid)
	if err != nil {
		return nil, err
	}
	if err := s.tryFiles(); err != nil {
		return nil, err
	}
	mark := uuid.NewString()[:8]
	return &Load{
		Pool: pool, Stores: stores, Baskets: makeBaskets(s.Method, mark, s.Email), Mark: mark, Meter: NewMeter(),
		Faults: &Faults{}, Ledger: &Ledger{}, Random: rand.New(rand.NewPCG(s.Seed, s.Seed)), Open: transports[s.Transport],
		Drain: s.Drain, Processes: processes, Progress: os.Stderr, places: make(chan struct{}, s.InFlight),
		work: make(chan Arrival), hurry: make(chan struct{}),
	}, nil
}

// tryFiles finds out before the run whether its report can be written.
func (s *Settings) tryFiles() error {
	paths := []string{}
	if s.JSON != "" {
		paths = append(paths, s.JSON)
	}
	if s.Charts != "" {
		if err := os.MkdirAll(s.Charts, 0o755); err != nil {
			return err
		}
		trial := filepath.Join(s.Charts, ".trial")
		defer os.Remove(trial)
		paths = append(paths, trial)
	}
	for _, path := range paths {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// phases are those of a constant rate.
func (s *Settings) phases() []Phase { return []Phase{{Rate: s.Rate, For: s.Duration}} }

// random is the chance in the times of arrivals; nil for none.
func (s *Settings) random() *rand.Rand {
	if !s.Poisson {
		return nil
	}
	return rand.New(rand.NewPCG(s.Seed, 1))
}

// finish writes the report where it is wanted, and fails if the run did.
func (s *Settings) finish(l *Load, r *Report, settings any) error {
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &r.Settings); err != nil {
		return err
	}
	if r.Missed > 0 {
		l.Faults.Add(faultf("generator", "%d arrivals were never started: more than %s late", r.Missed, hopeless))
	}
	if r.Started == 0 && !r.Interrupted {
		l.Faults.Add(faultf("generator", "nobody came"))
	}
	r.Faults, r.Examples = l.Faults.Told()
	r.print(os.Stdout)
	if s.JSON != "" {
		err = r.writeJSON(s.JSON)
	}
	if s.Charts != "" {
		err = errors.Join(err, r.writeCharts(s.Charts))
	}
	if faults := l.Faults.Total(); faults > 0 {
		err = errors.Join(err, fmt.Errorf("%d faults", faults))
	}
	if r.Interrupted {
		err = errors.Join(err, errors.New("interrupted: this is not the whole run"))
	}
	return err
}
