package main

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell starts a shell that says when it has done its work, for which worked waits, and then waits itself.
func shell(t *testing.T, script string) (command *exec.Cmd, worked func()) {
	t.Helper()
	command = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", script+"; echo done; read wait")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = command.Wait()
	})
	return command, func() {
		t.Helper()
		if _, err := stdout.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
}

const work = `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done`

func TestReapedChildrenCount(t *testing.T) {
	t.Parallel()
	command, worked := shell(t, "sh -c '"+work+"'")
	worked()
	one, err := readProcess(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if one.ticks == 0 || one.parent != os.Getpid() || one.resident() == 0 {
		t.Errorf("%+v", one)
	}
}

func TestTreesAreCountedApart(t *testing.T) {
	t.Parallel()
	p := &Processes{roots: map[int]*Usage{1: {Name: "shop"}, 3: {Name: "database"}}}
	parents := map[int]int{1: 0, 2: 1, 3: 1, 4: 3, 5: 4, 9: 0}
	for pid, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 3, 9: 0} {
		if root, _ := p.rootOf(pid, parents); root != want {
			t.Errorf("process %d belongs to %d, not to %d", pid, root, want)
		}
	}
}

// A process that ends meanwhile keeps what it took, and is a fault; so is another one of its number.
func TestEndedProcess(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*exec.Cmd, *Processes){
		"not waited for": func(c *exec.Cmd, _ *Processes) {
			_ = c.Process.Kill()
			for one, err := readProcess(c.Process.Pid); err == nil && !one.ended; one, err = readProcess(c.Process.Pid) {
				time.Sleep(time.Millisecond)
			}
		},
		"gone": func(c *exec.Cmd, _ *Processes) {
			_ = c.Process.Kill()
			_ = c.Wait()
		},
		"another": func(c *exec.Cmd, p *Processes) { p.roots[c.Process.Pid].born-- },
	} {
		command, worked := shell(t, work)
		p, err := watchProcesses(map[string]int{"shop": command.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		p.Begin()
		worked()
		p.LookAtSingles()
		if p.LookAtTrees(); len(p.Faults()) > 0 {
			t.Errorf("%s: %v before", name, p.Faults())
		}
		end(command, p)
		if usages, _ := p.End(1); usages[0].CPU == 0 || len(p.Faults()) != 1 {
			t.Errorf("%s: %+v, faults %v", name, usages, p.Faults())
		}
	}
}

func TestUnreadableMemory(t *testing.T) {
	t.Parallel()
	if n, err := shareOf(filepath.Join(t.TempDir(), "gone")); n != 0 || err != nil {
		t.Errorf("one that has ended has %d: %v", n, err)
	}
	if n, err := shareOf(t.TempDir()); err == nil {
		t.Errorf("what cannot be read is %d", n)
	}
	p := &Processes{blind: errors.New("no permission")}
	if len(p.Faults()) != 1 {
		t.Error("not told")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	command, worked := shell(t, "sleep 60 & trap 'kill $!' EXIT")
	worked()
	pid := command.Process.Pid
	p, err := watchProcesses(map[string]int{"shop": pid})
	if err != nil {
		t.Fatal(err)
	}
	p.Begin()
	time.Sleep(20 * time.Millisecond)
	usages, own := p.End(500)
	if len(usages) != 1 || usages[0].Processes != 2 || usages[0].MemoryPeak == 0 || usages[0].CPU > 1 {
		t.Errorf("%+v", usages)
	}
	if own.MemoryPeak == 0 || math.Abs(own.PerThousand-own.CPU*2) > 1e-9 {
		t.Errorf("own: %+v", own)
	}
	if _, err := watchProcesses(map[string]int{"none": 1 << 30}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a process that does not live: %v", err)
	}
}
