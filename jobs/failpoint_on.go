//go:build failpoints

package jobs

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// FAILPOINT names a boundary and how many times it may be passed before the process dies there, as by kill -9:
// FAILPOINT=confirm:3 lets two charges pass.
var (
	dyingAt     act
	passesUntil atomic.Int64
)

func init() {
	at, passes, _ := strings.Cut(os.Getenv("FAILPOINT"), ":")
	n, err := strconv.Atoi(passes)
	if at == "" || err != nil {
		return
	}
	dyingAt = act(at)
	passesUntil.Store(int64(n))
}

// failpoint marks a boundary of the payment path, see failpoint.go.
func failpoint(at act) {
	if at == dyingAt && passesUntil.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
