package sandbox

import (
	"os"
	"syscall"
)

// syncData brings to disk what was written to a file. When that was stays behind: nobody asks.
func syncData(file *os.File) error {
	for {
		if err := syscall.Fdatasync(int(file.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
