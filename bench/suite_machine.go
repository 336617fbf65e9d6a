package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine says in a line what the figures were measured on.
func machine(ctx context.Context, s *server) string {
	return fmt.Sprintf("%d cores (%s), %s GiB of memory, %s %s, PostgreSQL %s, %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"),
		memory(), runtime.GOOS, kernel(), postgresVersion(ctx, s), runtime.Version())
}

// field is the first value of a name in one of the kernel's lists.
func field(path, name string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memory() string {
	kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.0f", kilobytes/(1<<20))
}

func kernel() string {
	raw, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(raw))
}

func postgresVersion(ctx context.Context, s *server) string {
	conn, err := s.connect(ctx, "frenchpress")
	if err != nil {
		return "unknown"
	}
	defer conn.Close(context.WithoutCancel(ctx))
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	return version
}
