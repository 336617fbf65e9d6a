package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// endPatienceOf is how long a child that was asked to end may take before it is killed.
const endPatienceOf = 20 * time.Second

// child is a process of ours that is there to be killed.
type child struct {
	command *exec.Cmd
	gone    chan struct{} // closed when it has ended
}

// startChild starts a program in a process group of its own. It ends when told to, not with a context: chaos decides
// when.
func startChild(command *exec.Cmd, log *os.File) (*child, error) {
	command.Stdout, command.Stderr = log, log
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true
	if err := command.Start(); err != nil {
		return nil, err
	}
	c := &child{command, make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(c.gone)
	}()
	return c, nil
}

func (c *child) pid() int { return c.command.Process.Pid }

func (c *child) ended() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (c *child) kill() error {
	if err := c.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return c.await(endPatienceOf)
}

// end asks the process to end, by force if that takes too long.
func (c *child) end(signal os.Signal) error {
	if c == nil || c.ended() {
		return nil
	}
	if err := c.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := c.await(endPatienceOf); err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("process %d did not end when asked to", c.pid()), c.kill())
}

func (c *child) await(most time.Duration) error {
	select {
	case <-c.gone:
		return nil
	case <-time.After(most):
		return fmt.Errorf("process %d did not end within %s", c.pid(), most)
	}
}

// tree is the process with its children, itself first: who stops the parent first meets no new children.
func (c *child) tree() []int {
	pids := []int{c.pid()}
	for _, one := range readProcesses() {
		if slices.Contains(pids[:1], one.parent) {
			pids = append(pids, one.pid)
		}
	}
	return pids
}

// signalTree sends a signal to the process and then to its children.
func (c *child) signalTree(signal syscall.Signal) error {
	if err := syscall.Kill(c.pid(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for _, pid := range c.tree()[1:] {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// pause waits, unless the context ends first.
func pause(ctx context.Context, how time.Duration) error {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
