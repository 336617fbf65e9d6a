package main

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	t.Parallel()
	throttle, err := newThrottle(3, time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	after := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	for i := range 3 {
		if wait := throttle.take(after(i*10), "ada", "home"); wait != 0 {
			t.Fatalf("attempt %d waits %v", i, wait)
		}
	}
	if wait := throttle.take(after(30), "ada", "elsewhere"); wait != 30*time.Second {
		t.Errorf("the fourth waits %v", wait)
	}
	if wait := throttle.take(after(30), "eve", "home"); wait != 30*time.Second {
		t.Errorf("another name from the same address waits %v", wait)
	}
	if wait := throttle.take(after(30), "eve", "elsewhere"); wait != 0 {
		t.Errorf("a refused attempt has counted: %v", wait)
	}
	if wait := throttle.take(after(60), "ada", "elsewhere"); wait != 0 {
		t.Errorf("when the oldest is a minute old: %v", wait)
	}
	if wait := throttle.take(after(61), "ada"); wait == 0 {
		t.Error("two of the three still count")
	}
	throttle.giveBack("ada", "nobody")
	if wait := throttle.take(after(61), "ada"); wait != 0 {
		t.Errorf("given back, and yet %v", wait)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	t.Parallel()
	throttle, err := newThrottle(1, time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		throttle.take(time.Now(), fmt.Sprint(i))
	}
	if throttle.taken.Len() != 10 {
		t.Errorf("remembers %d", throttle.taken.Len())
	}
	if throttle.take(time.Now(), "999") == 0 {
		t.Error("forgot the latest")
	}
}
