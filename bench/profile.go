package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/pprof/profile"
)

const (
	profiled = 30 * time.Second
	// profileRate is a pace that every machine keeps: one that chokes spends its time elsewhere.
	profileRate = "500" // whole orders a second
	profileMost = 8 << 20
)

// profileRun records where the program spends its time in a rush, for the compiler: go build reads default.pgo and
// inlines what is hot.
type profileRun struct {
	Server string `default:"../bin/frenchpress" help:"The program to look at."`
	Out    string `default:"../app/default.pgo" help:"File for the CPU profile."`
	Stores int    `default:"31048" help:"Stores of the chain."`
}

// Run writes the profile, unless something went wrong with the orders meanwhile.
func (p *profileRun) Run(ctx context.Context) (err error) {
	program, err := filepath.Abs(p.Server)
	if err != nil {
		return err
	}
	shop, err := openServer(ctx, program, p.Stores)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.close()) }()
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	operator := "127.0.0.1:" + port
	b := &bench{suiteRun: &suiteRun{}, shop: shop, results: &Results{}}
	if err := b.fresh(ctx, "OPERATOR_ADDR="+operator); err != nil {
		return err
	}
	var raw []byte
	var unread error
	var reading sync.WaitGroup
	reading.Go(func() { raw, unread = readProfile(ctx, operator) })
	_, err = b.trial(ctx, "profiled", "lifecycle", profiled+2*time.Second, "--rate", profileRate)
	reading.Wait()
	if err := errors.Join(err, unread); err != nil {
		return err
	}
	if len(b.faults) > 0 {
		return errors.New(b.faults[0])
	}
	return writeProfile(p.Out, raw)
}

// writeProfile leaves out where on this machine the program lies.
func writeProfile(path string, raw []byte) error {
	p, err := profile.ParseData(raw)
	if err != nil {
		return err
	}
	for _, m := range p.Mapping {
		m.File = ""
	}
	var whole bytes.Buffer
	if err := p.Write(&whole); err != nil {
		return err
	}
	return os.WriteFile(path, whole.Bytes(), 0o600)
}

// readProfile is a CPU profile of the server, which takes it while this waits.
func readProfile(ctx context.Context, operator string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*profiled)
	defer cancel()
	address := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", operator, int(profiled.Seconds()))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, profileMost))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the operator's port says %d: %.200s", answer.StatusCode, raw)
	}
	return raw, err
}
