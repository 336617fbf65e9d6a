package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// trialPatience is what a run may take besides its time: menus before it, what is in flight and the reading back
	// after it.
	trialPatience = 5 * time.Minute
	childPatience = 20 * time.Second // from an interrupt to the end of a run
)

// Trial is one run of a scenario, in a process of its own so that each begins alike.
type Trial struct {
	Name    string    `json:"name"`
	Report  *Report   `json:"report,omitempty"`
	Pgbench []float64 `json:"pgbench_orders_per_second,omitempty"`
	Pages   *Pages    `json:"pages,omitempty"`
	Fault   string    `json:"fault,omitempty"`
}

// childCommand is a program in a process group of its own: an interrupt on the terminal is for the suite alone. With
// the context it is asked to end.
func childCommand(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, program, arguments...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = childPatience
	return command
}

// trial runs a scenario of this program against the shop. A fault that its checks found makes the report no less
// worth reading: it is noted, and stands in the table.
func (b *bench) trial(ctx context.Context, name, scenario string, lasts time.Duration, arguments ...string) (*Report, error) {
	pids, err := b.shop.pids()
	if err != nil {
		return nil, err
	}
	return b.trialAt(ctx, b.shop.target(), name, scenario, lasts, append(pids, arguments...)...)
}

func (b *bench) trialAt(ctx context.Context, target, name, scenario string, lasts time.Duration, arguments ...string) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, lasts+trialPatience)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	result := filepath.Join(b.shop.root, "report.json")
	if err := os.RemoveAll(result); err != nil {
		return nil, err
	}
	arguments = append([]string{scenario, "--target", target, "--devices", b.shop.devices(), "--duration", lasts.String(), "--json", result}, arguments...)
	fmt.Fprintf(os.Stderr, "\n== %s\n", name)
	command := childCommand(ctx, program, arguments...)
	command.Stderr = os.Stderr
	said, failed := command.Output()
	_, _ = os.Stderr.Write(said)
	report, err := readReport(result)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(failed, err))
	}
	t := &Trial{Name: name, Report: report}
	if failed != nil {
		t.Fault = fmt.Sprintf("%s: %s", name, report.faults(failed))
	}
	b.note(t.Fault)
	b.results.Trials = append(b.results.Trials, t)
	return report, ctx.Err()
}

func readReport(path string) (*Report, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	return r, json.Unmarshal(raw, r)
}

// faults says in a line what a run's checks found.
func (r *Report) faults(failed error) string {
	if len(r.Faults) == 0 {
		return failed.Error()
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		kinds = append(kinds, fmt.Sprintf("%s times %s", number(float64(r.Faults[kind])), kind))
	}
	line := strings.Join(kinds, ", ")
	if len(r.Examples) > 0 {
		line += fmt.Sprintf(", first %.200s", r.Examples[0])
	}
	return line
}

// process is what a named process of a run took.
func (r *Report) process(name string) Usage {
	for _, u := range r.Processes {
		if u.Name == name {
			return u
		}
	}
	return Usage{}
}

// warm fills what is empty after a start: connections, plans, caches, the database's buffers.
func (b *bench) warm(ctx context.Context) error {
	_, err := b.trial(ctx, "warming up", "lifecycle", b.lasts(5*time.Second), "--clients", "64")
	return err
}

// fresh is the shop just started and warm, with these settings.
func (b *bench) fresh(ctx context.Context, setting ...string) error {
	if err := b.shop.restart(ctx, setting...); err != nil {
		return err
	}
	return b.warm(ctx)
}

// usual is the shop warm, with no settings; it is started anew only if it has others.
func (b *bench) usual(ctx context.Context) error {
	if b.shop.process == nil || len(b.shop.setting) > 0 {
		return b.fresh(ctx)
	}
	return b.warm(ctx)
}
