package main

import (
	"fmt"
	"io"
	"time"
)

// leastSecond is how much of a second, at the end of a run, is worth a line of its own.
const leastSecond = 0.2

// open begins the measured window. What it gives ends it.
func (l *Load) open() (end func()) {
	l.Processes.LookAtTrees()
	l.Began = time.Now()
	l.Processes.Begin()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		l.observe(stop)
	}()
	return func() {
		l.Ended = time.Now()
		close(stop)
		<-stopped
		l.usages, l.own = l.Processes.End(l.Meter.Finished.Load())
		for _, fault := range l.Processes.Faults() {
			l.Faults.Add(fault)
		}
	}
}

// observe looks at memory and shows how it goes, until it is stopped.
func (l *Load) observe(stop <-chan struct{}) {
	memory, trees, second := time.NewTicker(memoryEvery), time.NewTicker(treesEvery), time.NewTicker(time.Second)
	defer memory.Stop()
	defer trees.Stop()
	defer second.Stop()
	var before Second
	tick := func() {
		memory := l.Processes.Memory() // waits while trees are looked at, and the ticker's time is old by then
		s := l.Meter.Tick(time.Since(l.Began), l.Faults.Total(), memory)
		show(l.Progress, before, s)
		before = s
	}
	for {
		select {
		case <-stop:
			if time.Since(l.Began).Seconds()-before.At > leastSecond {
				tick()
			}
			return
		case <-memory.C:
			l.Processes.LookAtSingles()
		case <-trees.C:
			l.Processes.LookAtTrees()
		case <-second.C:
			tick()
		}
	}
}

func show(to io.Writer, before, now Second) {
	fmt.Fprintf(to, "%4.0fs  +%d started  +%d finished  %d in flight", now.At, now.Started-before.Started,
		now.Finished-before.Finished, now.InFlight)
	if shed := now.Shed - before.Shed; shed > 0 {
		fmt.Fprintf(to, "  +%d shed", shed)
	}
	if now.Faults > 0 {
		fmt.Fprintf(to, "  %d faults", now.Faults)
	}
	for _, step := range []Step{stepMenu, stepPlace, stepPaid, stepWhole, stepScreen} {
		if q, ok := now.Steps[step.String()]; ok {
			fmt.Fprintf(to, "  %s %.1f/%.1f", step, q.P50, q.P99)
		}
	}
	fmt.Fprintf(to, " ms (p50/p99)  lag %.1f ms\n", now.LagMax)
}
