package main

import (
	"sync"
	"testing"
)

// together makes n calls at the same time and returns their answers.
func together[T any](t *testing.T, n int, call func(i int) T) []T {
	t.Helper()
	answers := make([]T, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i] = call(i)
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return answers
}

// countStatus counts answers by their status.
func countStatus(answers []answer) map[int]int {
	n := map[int]int{}
	for _, a := range answers {
		n[a.StatusCode]++
	}
	return n
}
