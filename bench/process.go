package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	memoryEvery = 500 * time.Millisecond
	// treesEvery is longer: for the memory that many processes share the kernel walks the page tables of each, which
	// takes 100 ms for a tree of forty.
	treesEvery = 10 * time.Second
	// ticks is the unit of CPU time in /proc, on every Linux that Go runs on.
	ticks = 100
)

// Usage is what a watched process and its descendants took. CPU is that of the measured window.
type Usage struct {
	Name        string  `json:"name"`
	PID         int     `json:"pid"`
	Processes   int     `json:"processes"` // when last counted
	CPU         float64 `json:"cpu_seconds"`
	PerThousand float64 `json:"cpu_seconds_per_1000"`
	Memory      int64   `json:"memory_bytes"`      // now
	MemoryPeak  int64   `json:"memory_peak_bytes"` // resident, shared pages counted once over a tree

	born  int64 // when the process began: another one may have its number later
	ticks int64 // CPU of the tree when last looked at
	ended bool
}

// Processes watches processes that were named, each with its descendants but without those that stand under a name of
// their own: a private PostgreSQL is the server's child.
type Processes struct {
	mu    sync.Mutex
	roots map[int]*Usage
	begun map[int]int64 // CPU ticks when the window began
	blind error         // why the memory of a process could not be read
	own   time.Duration
}

// process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	ticks       int64 // its own and those of the children it has waited for
	pages       int64 // resident
	born        int64 // in ticks since the machine began
	ended       bool  // and nobody has asked how
}

// watchProcesses begins to watch. Every one of them must live, and its memory must be there to read.
func watchProcesses(pids map[string]int) (*Processes, error) {
	p := &Processes{roots: map[int]*Usage{}}
	for name, pid := range pids {
		one, err := readProcess(pid)
		if err != nil {
			return nil, fmt.Errorf("process %s=%d: %w", name, pid, err)
		}
		p.roots[pid] = &Usage{Name: name, PID: pid, born: one.born}
	}
	p.LookAtTrees()
	return p, p.blind
}

// Begin begins the measured window.
func (p *Processes) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.own = map[int]int64{}, ownCPU()
	for root, tree := range p.trees() {
		p.roots[root].Processes = len(tree)
		p.begun[root] = p.roots[root].ticks
	}
}

// End ends the window: what was used since Begin, and by this program.
func (p *Processes) End(orders int64) (usages []Usage, own Usage) {
	spent := ownCPU() - p.own
	p.spent(orders)
	p.LookAtTrees()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.roots {
		usages = append(usages, *u)
	}
	slices.SortFunc(usages, func(a, b Usage) int { return strings.Compare(b.Name, a.Name) })
	own = Usage{Name: "generator", PID: os.Getpid(), Processes: 1}
	own.spent(spent.Seconds(), orders)
	if self, err := readProcess(own.PID); err == nil {
		own.Memory = self.resident()
	}
	own.MemoryPeak = max(ownPeak(), own.Memory)
	return usages, own
}

func (p *Processes) spent(orders int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trees()
	for root, u := range p.roots {
		u.spent(float64(u.ticks-p.begun[root])/ticks, orders)
	}
}

// Faults are what keeps the figures from being true.
func (p *Processes) Faults() (faults []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.roots {
		if u.ended {
			faults = append(faults, faultf("process", "%s (%d) has ended", u.Name, u.PID))
		}
	}
	if p.blind != nil {
		faults = append(faults, faultf("process", "%w", p.blind))
	}
	return faults
}

func (u *Usage) spent(cpu float64, orders int64) {
	u.CPU = cpu
	if orders > 0 {
		u.PerThousand = cpu * 1000 / float64(orders)
	}
}

// LookAtTrees notes how much memory each has now.
func (p *Processes) LookAtTrees() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for root, tree := range p.trees() {
		u := p.roots[root]
		if u.Processes = len(tree); u.Processes > 1 {
			memory, err := proportional(tree)
			p.blind = cmp.Or(p.blind, err)
			u.remember(memory)
		} else {
			u.remember(tree[0].resident())
		}
	}
}

// LookAtSingles is the cheap part of it: those that had no descendants when last counted.
func (p *Processes) LookAtSingles() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for root, u := range p.roots {
		if u.Processes > 1 {
			continue
		}
		if one, err := readProcess(root); err == nil && u.is(one) {
			u.ticks = one.ticks
			u.remember(one.resident())
		}
	}
}

// is tells whether it is still the same process, and lives.
func (u *Usage) is(one process) bool { return one.born == u.born && !one.ended }

func (u *Usage) remember(memory int64) {
	u.Memory, u.MemoryPeak = memory, max(u.MemoryPeak, memory)
}

// Memory is that of each name when it was last looked at.
func (p *Processes) Memory() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	memory := make(map[string]int64, len(p.roots))
	for _, u := range p.roots {
		memory[u.Name] = u.Memory
	}
	return memory
}

// MemoryOf is the memory of a name now; 0 if it is not watched.
func (p *Processes) MemoryOf(name string) int64 {
	p.LookAtTrees()
	return p.Memory()[name]
}

// trees gives the processes of each root that lives.
func (p *Processes) trees() map[int][]process {
	if len(p.roots) == 0 {
		return nil
	}
	all := readProcesses()
	parents := make(map[int]int, len(all))
	for _, one := range all {
		parents[one.pid] = one.parent
	}
	for _, u := range p.roots {
		u.ended = !slices.ContainsFunc(all, func(one process) bool { return one.pid == u.PID && u.is(one) })
	}
	trees := map[int][]process{}
	for _, one := range all {
		if root, ok := p.rootOf(one.pid, parents); ok && !p.roots[root].ended {
			trees[root] = append(trees[root], one)
		}
	}
	for root, tree := range trees {
		p.roots[root].ticks = 0
		for _, one := range tree {
			p.roots[root].ticks += one.ticks
		}
	}
	return trees
}

// rootOf is the nearest named ancestor.
func (p *Processes) rootOf(pid int, parents map[int]int) (root int, ok bool) {
	for range len(parents) { // a list read while processes come and go might hold a circle
		if p.roots[pid] != nil {
			return pid, true
		}
		if pid, ok = parents[pid]; !ok {
			return 0, false
		}
	}
	return 0, false
}

func readProcesses() (all []process) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		if one, err := readProcess(pid); err == nil {
			all = append(all, one)
		}
	}
	return all
}

func readProcess(pid int) (one process, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return one, err
	}
	// The name, in parentheses, may hold anything; what follows the last of them are numbers from the third on.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 22 {
		return one, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	number := func(at int) int64 {
		n, _ := strconv.ParseInt(string(fields[at-3]), 10, 64)
		return n
	}
	one = process{pid: pid, parent: int(number(4)), born: number(22), pages: number(24), ended: fields[0][0] == 'Z' || fields[0][0] == 'X'}
	for at := 14; at <= 17; at++ { // utime, stime, cutime, cstime
		one.ticks += number(at)
	}
	return one, nil
}

func (one process) resident() int64 { return one.pages * int64(os.Getpagesize()) }

// proportional adds up each process's share of its memory.
func proportional(tree []process) (total int64, err error) {
	for _, one := range tree {
		share, unread := shareOf(fmt.Sprintf("/proc/%d/smaps_rollup", one.pid))
		total, err = total+share, cmp.Or(err, unread)
	}
	return total, err
}

// shareOf reads one process's share; that of one that has just ended is 0.
func shareOf(path string) (int64, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(raw, []byte("\nPss:"))
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return 0, nil
	}
	kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kilobytes << 10, err
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func ownPeak() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss << 10
}
