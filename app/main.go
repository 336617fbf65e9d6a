// Frenchpress is a coffee shop: order ahead, pay, and watch a barista make it. This program is all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // a store's hours need its time zone, which a small container does not have

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"
)

// stopWait bounds an orderly end: requests under way, then jobs, then the private database.
const stopWait = 45 * time.Second

// version is stamped by the build.
var version string

// gcPercent is by how much the heap grows between two collections: at a chain's peak a quarter fewer of them than with Go's
// 100 save a thirtieth of the server's processor time, for 15 MiB. GOGC overrides it.
const gcPercent = 135

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signal.Ignore(syscall.SIGPIPE) // who reads the log may go: the shop stays open
	// The first signal begins an orderly end; after it the next one ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "frenchpress:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	log := newLog()
	slog.SetDefault(log)
	var cli commands
	parser, err := kong.New(&cli, kong.Name("frenchpress"), kong.Description("A coffee shop in one process."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(log))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	err = command.Run()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // somebody asked for the end
	}
	return err
}

// newLog writes to stderr: text for people, JSON for machines.
func newLog() *slog.Logger {
	if isatty.IsTerminal(os.Stderr.Fd()) {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, nil))
}

// programVersion is what the build stamped, else what Go knows of the source.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
