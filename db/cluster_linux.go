package db

import (
	"fmt"
	"os"
	"syscall"
)

// endWithParent has the kernel ask the server for a fast shutdown when the
// thread that starts it ends.
func endWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGINT
}

// commandLine returns "" for a process that does not exist.
func commandLine(pid int) string {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return string(args)
}
