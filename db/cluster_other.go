//go:build !linux

package db

import (
	"context"
	"os/exec"
	"strconv"
	"syscall"
)

// endWithParent can do nothing here: the next start ends what is left over.
func endWithParent(*syscall.SysProcAttr) {}

// commandLine returns "" for a process that does not exist.
func commandLine(pid int) string {
	args, err := exec.CommandContext(context.Background(), "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return string(args)
}
