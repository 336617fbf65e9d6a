//go:build !linux

package sandbox

import "os"

// syncData brings to disk what was written to a file.
func syncData(file *os.File) error { return file.Sync() }
