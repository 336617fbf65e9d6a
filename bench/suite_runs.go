package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	menuReaders = "32"
	rounds      = 3 // of whatever is compared
)

// turns measures two in rounds, and in each round the other one first: nothing that lasts favours either.
func turns[R any](one, other func() (R, error)) (ones, others []R, err error) {
	for n := range 2 * rounds {
		measure, all := one, &ones
		if n%4 == 1 || n%4 == 2 {
			measure, all = other, &others
		}
		r, err := measure()
		if err != nil {
			return nil, nil, err
		}
		*all = append(*all, r)
	}
	return ones, others, nil
}

// menus compares reading a menu with a bare handler that writes the same bytes, turn by turn.
func (b *bench) menus(ctx context.Context) error {
	if err := b.usual(ctx); err != nil {
		return err
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	program, err := b.bare(ctx, port)
	if err != nil {
		return err
	}
	defer func() {
		_ = program.Cancel()
		_ = program.Wait()
	}()
	for _, kind := range []struct{ name, share string }{{"whole", "0"}, {"unchanged (304)", "1"}} {
		ours, theirs, err := turns(func() (*Report, error) {
			return b.trial(ctx, "menu, "+kind.name, "menu", b.lasts(5*time.Second), "--clients", menuReaders, "--conditional", kind.share)
		}, func() (*Report, error) {
			return b.trialAt(ctx, "http://127.0.0.1:"+port, "bare handler, "+kind.name, "menu", b.lasts(5*time.Second), "--clients", menuReaders,
				"--conditional", kind.share, "--pid", "server="+strconv.Itoa(program.Process.Pid))
		})
		if err != nil {
			return err
		}
		b.compareMenus(kind.name, ours, theirs)
	}
	return nil
}

// compareMenus compares throughput and, because the generator may be what limits it, what each costs the server.
func (b *bench) compareMenus(kind string, ours, theirs []*Report) {
	cost := func(r *Report) float64 { return r.process("server").PerThousand }
	a, c := median(ours, perSecond), median(theirs, perSecond)
	b.add(Row{
		What:   fmt.Sprintf("menu, %s: reads against a bare Echo handler's %s/s", kind, number(c)),
		Figure: percent(a/c) + " (" + number(a) + "/s)", Target: "≥ 80 %", Outcome: atLeast(a/c, 0.8),
	})
	if spent := median(ours, cost); spent > 0 {
		b.add(Row{What: "menu, " + kind + ": the bare handler's CPU as a share of ours", Figure: percent(median(theirs, cost) / spent)})
	}
}

// bare starts the bare handler, with all cores, as the shop has.
func (b *bench) bare(ctx context.Context, port string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := childCommand(ctx, program, "--procs", "0", "bare", "--target", b.shop.target(), "--listen", "127.0.0.1:"+port)
	if err := command.Start(); err != nil {
		return nil, err
	}
	if err := awaitPort(ctx, "127.0.0.1:"+port); err != nil {
		_ = command.Cancel()
		_ = command.Wait()
		return nil, err
	}
	return command, nil
}

// lifecycle is the record day: whole orders on schedule. Each time the server has just been started, for memory that it
// once had it keeps. The figures are those of the run whose placings were neither the fastest nor the slowest.
func (b *bench) lifecycle(ctx context.Context) error {
	lasts := b.lasts(time.Minute)
	var runs []*Report
	charts := map[*Report]string{}
	for n := range rounds {
		if err := b.fresh(ctx); err != nil {
			return err
		}
		drawn := filepath.Join(b.shop.root, fmt.Sprint("charts-", n))
		r, err := b.trial(ctx, "whole orders on schedule", "lifecycle", lasts, "--rate", text64(b.LifecycleRate), "--charts", drawn)
		if err != nil {
			return err
		}
		runs, charts[r] = append(runs, r), drawn
	}
	return copyFiles(b.Out, charts[b.tellLifecycle(runs, lasts)])
}

// copyFiles puts a directory's files in the place of those of the same names in another.
func copyFiles(to, from string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file.Name()), raw, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellLifecycle adds the rows of the run in the middle, and returns it.
func (b *bench) tellLifecycle(runs []*Report, lasts time.Duration) *Report {
	placing := func(r *Report) float64 { return r.Steps["place"].P99 }
	slices.SortFunc(runs, func(a, b *Report) int { return cmp.Compare(placing(a), placing(b)) })
	var rates, slowest []string
	for _, r := range runs {
		rates, slowest = append(rates, number(r.rate(lasts))), append(slowest, number(placing(r)))
	}
	r := runs[len(runs)/2]
	what := fmt.Sprintf("whole orders (menu, quote, place, paid, start, ready, collect) on schedule, %s; the middle of %d runs (%s/s)", seconds(lasts), len(runs), strings.Join(rates, " / "))
	b.add(Row{What: what, Figure: number(r.rate(lasts)) + "/s", Target: "≥ 1,000/s", Outcome: atLeast(r.rate(lasts), 1000)})
	b.add(Row{What: fmt.Sprintf("p99 of placing meanwhile (%s ms)", strings.Join(slowest, " / ")), Figure: number(placing(r)) + " ms", Target: "≤ 100 ms", Outcome: atMost(placing(r), 100)})
	server, postgres := r.process("server"), r.process("postgres")
	cost := server.PerThousand + postgres.PerThousand
	b.add(Row{
		What:   "CPU seconds for 1,000 of them, server and PostgreSQL",
		Figure: fmt.Sprintf("%.2f (%.2f + %.2f)", cost, server.PerThousand, postgres.PerThousand), Target: "≤ 1.5", Outcome: atMost(cost, 1.5),
	})
	b.add(Row{What: "peak of the server's resident memory", Figure: mebibytes(server.MemoryPeak), Target: "≤ 150 MiB", Outcome: atMost(float64(server.MemoryPeak)/(1<<20), 150)})
	return r
}

// closed finds the most whole orders or placings that the target can do.
func (b *bench) closed(ctx context.Context, name, scenario string, more ...string) (*Report, error) {
	return b.trial(ctx, name, scenario, b.lasts(12*time.Second), append([]string{"--clients", strconv.Itoa(b.Clients)}, more...)...)
}

// groups compares group commit with groups of one, turn by turn.
func (b *bench) groups(ctx context.Context) error {
	most := func(name string, setting ...string) func() (*Report, error) {
		return func() (*Report, error) {
			if err := b.fresh(ctx, setting...); err != nil {
				return nil, err
			}
			return b.closed(ctx, name, "lifecycle")
		}
	}
	grouped, ones, err := turns(most("whole orders, the most"), most("whole orders, groups of one", "GROUP_MAX=1", "GROUP_FLIGHTS=16"))
	if err != nil {
		return err
	}
	many, single := median(grouped, perSecond), median(ones, perSecond)
	b.add(Row{What: fmt.Sprintf("whole orders, %d customers at a time", b.Clients), Figure: number(many) + "/s"})
	b.add(Row{
		What:   "the same against groups of one, " + number(single) + "/s",
		Figure: fmt.Sprintf("%.1f times", many/single), Target: "≥ 5 times", Outcome: atLeast(many/single, 5),
	})
	return nil
}

// place is placing alone: on schedule, and the most.
func (b *bench) place(ctx context.Context) error {
	if err := b.usual(ctx); err != nil {
		return err
	}
	lasts := b.lasts(10 * time.Second)
	r, err := b.trial(ctx, "placing on schedule", "place", lasts, "--rate", text64(b.PlaceRate), "--charts", b.Out)
	if err != nil {
		return err
	}
	b.add(Row{
		What:   fmt.Sprintf("placing alone on schedule, %s; p99 %s ms", seconds(lasts), number(r.Steps["place"].P99)),
		Figure: number(r.rate(lasts)) + "/s", Target: "≥ 6,000/s", Outcome: atLeast(r.rate(lasts), 6000),
	})
	if r, err = b.closed(ctx, "placing, the most", "place"); err != nil {
		return err
	}
	b.add(Row{What: fmt.Sprintf("placing alone, %d customers at a time", b.Clients), Figure: number(r.PerSecond) + "/s"})
	return nil
}

// rate is the pace that was kept. What the last orders take after the time is over is no lack of pace, as long as
// all of them ended within a second.
func (r *Report) rate(lasts time.Duration) float64 {
	if r.Finished == r.Started && r.Missed == 0 && r.Seconds < lasts.Seconds()+1 {
		return float64(r.Finished) / lasts.Seconds()
	}
	return r.PerSecond
}

func perSecond(r *Report) float64 { return r.PerSecond }

// median is the middle one of a figure, or the mean of the middle two.
func median(reports []*Report, figure func(*Report) float64) float64 {
	values := make([]float64, len(reports))
	for i, r := range reports {
		values[i] = figure(r)
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}
