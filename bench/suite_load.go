package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

const (
	spareFiles   = 1000 // of a process, for what is not a connection
	mostInFlight = 20_000
)

// twoSources are addresses enough for every connection of a run: one has only some 28,000 ports.
var twoSources = []string{"--source", "127.0.0.1", "--source", "127.0.0.2"}

// mostSockets is how many connections this process may have, as long as the server may have as many.
func mostSockets() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return spareFiles
	}
	return int(min(max(files.Max, 2*spareFiles)-spareFiles, mostInFlight))
}

// watch opens many live streams, and then as many as there may be sockets.
func (b *bench) watch(ctx context.Context) error {
	err := b.watchWith(ctx, b.Watchers, "--charts", b.Out)
	if most := mostSockets(); err == nil && most > b.Watchers {
		err = b.watchWith(ctx, most)
	}
	return err
}

// watchWith opens the streams on a server that has just been started: one that has done much already would put them
// into memory that it has anyway.
func (b *bench) watchWith(ctx context.Context, watchers int, more ...string) error {
	if err := b.shop.restart(ctx); err != nil {
		return err
	}
	name := number(float64(watchers)) + " live streams"
	arguments := append([]string{"--idle", "--watchers", strconv.Itoa(watchers), "--rate", "300"}, twoSources...)
	r, err := b.trial(ctx, name, "watch", b.lasts(30*time.Second), append(arguments, more...)...)
	if err != nil {
		return err
	}
	commit, screen := r.Steps["commit"].P99, r.Steps["screen"].P99
	each := 0.0
	if r.Watchers != nil {
		each = r.Watchers.PerWatcher / (1 << 10)
	}
	b.add(Row{
		What:   fmt.Sprintf("%s, 300 changes a second: p99 from commit to screen (from tap to screen %s ms)", name, number(screen)),
		Figure: number(commit) + " ms", Target: "≤ 100 ms", Outcome: atMost(commit, 100),
	})
	b.add(Row{What: "server memory for each of them", Figure: number(each) + " KiB", Target: "≤ 20 KiB", Outcome: atMost(each, 20)})
	return nil
}

// overload asks for three times what the target can place, which is looked for before and after it: a machine that has
// neighbours does not keep its pace for minutes.
func (b *bench) overload(ctx context.Context) error {
	if err := b.usual(ctx); err != nil {
		return err
	}
	before, err := b.closed(ctx, "placing, the most before an overload", "place")
	if err != nil {
		return err
	}
	length := b.lasts(30 * time.Second)
	arguments := append([]string{"--overload", "3", "--peak", text64(0.9 * before.PerSecond), "--for", length.String(), "--charts", b.Out,
		"--in-flight", strconv.Itoa(mostSockets())}, twoSources...)
	r, err := b.trial(ctx, "overload", "burst", 2*length, arguments...)
	if err != nil {
		return err
	}
	if len(r.Parts) != 3 {
		return fmt.Errorf("an overload has three parts, not %d", len(r.Parts))
	}
	if err := b.usual(ctx); err != nil { // as before, and so that nothing is left of it
		return err
	}
	after, err := b.closed(ctx, "placing, the most after an overload", "place")
	if err != nil {
		return err
	}
	b.tellOverload(r, before.PerSecond, after.PerSecond, length)
	return nil
}

func (b *bench) tellOverload(r *Report, mostBefore, mostAfter float64, length time.Duration) {
	during, after := r.Parts[1], r.Parts[2]
	share := during.Goodput / ((mostBefore + mostAfter) / 2)
	b.add(Row{
		What: fmt.Sprintf("offered %s placings a second for %s: those accepted, of the most it can do (%s/s before, %s/s after)",
			number(float64(during.Offered)/during.Seconds), seconds(length), number(mostBefore), number(mostAfter)),
		Figure: percent(share) + " (" + number(during.Goodput) + "/s)", Target: "≥ 90 %", Outcome: atLeast(share, 0.9),
	})
	b.add(Row{
		What:   fmt.Sprintf("p99 of the %s refusals (503 with Retry-After), from when they were sent", number(float64(during.Shed))),
		Figure: number(during.Answer.P99) + " ms", Target: "< 50 ms", Outcome: atMost(during.Answer.P99, 50),
	})
	recovered := Row{What: "recovered after", Figure: "not at all", Target: "≤ 10 s", Outcome: "missed"}
	if after.Recovered != nil {
		recovered.Figure, recovered.Outcome = number(*after.Recovered)+" s", atMost(*after.Recovered, 10)
	}
	b.add(recovered)
	b.add(Row{What: "peak of the server's memory meanwhile", Figure: mebibytes(r.process("server").MemoryPeak)})
}

// stores compares one store with all. What is measured is the one row of counters that a store has: every group of
// its orders locks it.
func (b *bench) stores(ctx context.Context) error {
	if err := b.usual(ctx); err != nil {
		return err
	}
	one, all, err := turns(func() (*Report, error) {
		return b.closed(ctx, "whole orders, one store", "lifecycle", "--stores", "1")
	}, func() (*Report, error) {
		return b.closed(ctx, "whole orders, all stores", "lifecycle")
	})
	if err != nil {
		return err
	}
	single, chain := median(one, perSecond), median(all, perSecond)
	b.add(Row{
		What:   fmt.Sprintf("whole orders of %s stores against those of one store, %s/s", number(float64(b.Stores)), number(single)),
		Figure: percent(chain/single) + " (" + number(chain) + "/s)", Target: "≥ 90 %", Outcome: atLeast(chain/single, 0.9),
	})
	return nil
}
