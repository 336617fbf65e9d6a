// Bench puts load on a shop that keeps the contract, over HTTP, and says what became of it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/alecthomas/kong"
)

// gcPercent lets the heap grow to five times what lives: the generator shares its cores with what it measures, and
// keeps little.
const gcPercent = 400

type commands struct {
	CPUProfile string `name:"cpuprofile" help:"File for a CPU profile of the generator itself."`
	Procs      int    `default:"1" help:"Cores that the generator may use; 0 is all. One takes less CPU for each order, and leaves the others alone."`

	Place     placeRun     `cmd:"" help:"Place orders."`
	Lifecycle lifecycleRun `cmd:"" help:"Whole orders: menu, quote, place, paid, start, ready, collect."`
	Day       dayRun       `cmd:"" help:"Whole orders at the rate of a morning, compressed."`
	Menu      menuRun      `cmd:"" help:"Read menus."`
	Bare      bareRun      `cmd:"" help:"Serve a menu's bytes with a bare Echo handler, to compare with."`
	Watch     watchRun     `cmd:"" help:"Many live streams on orders that move."`
	Burst     burstRun     `cmd:"" help:"Place a second's orders at once, several times; or ask for more than the target can do."`
	Suite     suiteRun     `cmd:"" help:"All of it against a fresh private database: the figures of the README."`
	Profile   profileRun   `cmd:"" help:"Record where the program spends its time in a rush, for the compiler."`
	Chaos     chaosRun     `cmd:"" help:"Kill, stall and cut everything while orders come, and check that nothing was lost or charged twice."`
}

func main() {
	debug.SetGCPercent(gcPercent)
	var line commands
	parsed := kong.Parse(&line, kong.Name("bench"), kong.UsageOnError(),
		kong.Description("Puts load on a shop that keeps the Frenchpress contract and checks what it answers."))
	parsed.FatalIfErrorf(line.run(parsed))
}

func (line *commands) run(parsed *kong.Context) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	if line.Procs > 0 {
		runtime.GOMAXPROCS(line.Procs)
	}
	if line.CPUProfile != "" {
		file, err := os.Create(line.CPUProfile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run()
}
