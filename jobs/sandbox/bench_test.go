package sandbox_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"frenchpress/jobs/sandbox"
)

// BenchmarkCharge is create and confirm of one order, without HTTP, by 64 callers who share fsyncs.
func BenchmarkCharge(b *testing.B) {
	s, err := sandbox.Open(b.TempDir(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var n atomic.Int64
	before := memory()
	cpu := cpuTime(b)
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := fmt.Sprintf("0199-%d", n.Add(1))
			body := serve(b, s, http.MethodPost, "/v1/payment_intents", key, visa+"&metadata%5Border%5D="+key+"&metadata%5Bstore%5D=ferry-building")
			serve(b, s, http.MethodPost, "/v1/payment_intents/"+firstID(body)+"/confirm", key+"-confirm", "")
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "µs-cpu/op")
	b.ReportMetric(float64(int64(memory())-int64(before))/float64(b.N), "kept-B/op")
}

func firstID(body string) string {
	_, rest, _ := strings.Cut(body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func serve(b *testing.B, s *sandbox.Sandbox, method, path, key, body string) string {
	r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secretKey)
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkList reads an intent in a page of 100, none of which is in memory.
func BenchmarkList(b *testing.B) {
	s, err := sandbox.Open(b.TempDir(), sandbox.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	charge := func(n int) {
		key := fmt.Sprintf("0199-%d", n)
		body := serve(b, s, http.MethodPost, "/v1/payment_intents", key, visa+"&metadata%5Border%5D=o-0199-a-uuid-of-an-order&metadata%5Bstore%5D=ferry-building&metadata%5Battempt%5D=1")
		serve(b, s, http.MethodPost, "/v1/payment_intents/"+firstID(body)+"/confirm", key+"-confirm", "")
	}
	for n := range 100 {
		charge(n)
	}
	after := firstID(serve(b, s, http.MethodGet, "/v1/payment_intents?limit=1", "", ""))
	var others sync.WaitGroup // share fsyncs
	for n := range 64 {
		others.Go(func() {
			for i := range 20 {
				charge(1000 + 100*n + i)
			}
		})
	}
	others.Wait()
	b.ReportAllocs()
	for b.Loop() {
		serve(b, s, http.MethodGet, "/v1/payment_intents?limit=100&starting_after="+after, "", "")
	}
}
