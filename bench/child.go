package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// killAfter is how long a child that was asked to end may take before it is killed.
const killAfter = time.Minute

// child is a process of ours that may have to be killed.
type child struct {
	command *exec.Cmd
	gone    chan struct{} // closed when it has ended
}

// startChild starts a program in a process group of its own. It ends when told to, not with a context: whoever started it
// decides when.
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
	return c.await(killAfter)
}

// end asks the process to end, by force if that takes too long.
func (c *child) end(signal os.Signal) error {
	if c == nil || c.ended() {
		return nil
	}
	if err := c.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := c.await(killAfter); err == nil {
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

// shopEnvironment is that of a shop, with nothing of the caller's that would change how it runs.
func shopEnvironment(settings ...string) []string {
	usual := []string{"HOST=127.0.0.1", "RATE_LIMIT=0", "SECRET_KEY=", "GROUP_MAX=", "GROUP_FLIGHTS=", "OPERATOR_ADDR=", "EXPIRE_AFTER=", "ABANDON_AFTER=",
		"TRUSTED_PROXIES=", "PAYMENT_URL=", "PAYMENT_KEY=", "PAYMENT_WEBHOOK_SECRET=", "SMTP_URL="}
	return append(append(os.Environ(), usual...), settings...)
}

// awaitReady waits until a shop says at its port that it can serve.
func (c *child) awaitReady(ctx context.Context, port string, log *os.File, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if c.ended() {
			return faultf("process", "it ended by itself: %s", lastWordsOf(log))
		}
		if isReady(ctx, port) {
			return nil
		}
		if err := pause(ctx, readyEvery); err != nil {
			return faultf("recovery", "it was not ready within %s: %s", patience, lastWordsOf(log))
		}
	}
}

func isReady(ctx context.Context, port string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// lastWordsOf is the end of a log.
func lastWordsOf(log *os.File) string {
	raw, err := os.ReadFile(log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(raw[max(0, len(raw)-1500):]))
}

// children are those of the process that there are now: who stops it first meets no new ones.
func (c *child) children() (pids []int) {
	for _, one := range readProcesses() {
		if one.parent == c.pid() {
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
	for _, pid := range c.children() {
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
