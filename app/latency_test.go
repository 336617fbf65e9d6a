package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkPlace places orders one after another and reports the median until 202.
func BenchmarkPlace(b *testing.B) {
	s := openShop(b)
	s.client = &http.Client{} // the validation of every exchange would be measured too
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		s.place(b, latte(nil)).wants(b, http.StatusAccepted)
		took = append(took, time.Since(began))
	}
	reportMedian(b, took)
}

// BenchmarkPlacedToBoard reports the median from the POST until the paid order is on the board's stream.
func BenchmarkPlacedToBoard(b *testing.B) {
	s := openShop(b)
	s.client = &http.Client{}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.URL+"/v1/stores/"+testStore+"/board/live?token="+s.device(b, testStore), nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	board := bufio.NewScanner(resp.Body)
	board.Buffer(nil, 1<<20)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		id := s.place(b, latte(nil)).wants(b, http.StatusAccepted).order(b).ID
		for board.Scan() {
			var message struct{ Order order }
			data, found := strings.CutPrefix(board.Text(), "data: ")
			if found && json.Unmarshal([]byte(data), &message) == nil && message.Order.ID == id {
				break
			}
		}
		took = append(took, time.Since(began))
	}
	if err := board.Err(); err != nil {
		b.Fatal(err)
	}
	reportMedian(b, took)
}

func reportMedian(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
