package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// maxExamples bounds the faults that are told in full; all of them are counted.
const maxExamples = 10

// Fault is something that the target did and the contract forbids, or an answer that never came.
type Fault struct {
	Kind string // what it is counted under
	Err  error
}

func (f *Fault) Error() string { return f.Kind + ": " + f.Err.Error() }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

func faultf(kind, format string, values ...any) error {
	return &Fault{kind, fmt.Errorf(format, values...)}
}

// Faults counts faults by kind and keeps the first few. Safe for concurrent use.
type Faults struct {
	mu       sync.Mutex
	counts   map[string]int
	examples []string
}

// Add counts a fault; nil is none.
func (f *Faults) Add(err error) {
	if err == nil {
		return
	}
	kind := "other"
	if fault := new(Fault); errors.As(err, &fault) {
		kind = fault.Kind
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[kind]++
	if len(f.examples) < maxExamples {
		f.examples = append(f.examples, err.Error())
	}
}

// Total is how many there were.
func (f *Faults) Total() (total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range maps.Values(f.counts) {
		total += n
	}
	return total
}

// Told gives the counts by kind and the examples.
func (f *Faults) Told() (counts map[string]int, examples []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts), slices.Clone(f.examples)
}
