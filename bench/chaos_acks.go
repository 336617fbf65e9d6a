package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
)

// ack is something that the shop has acknowledged to a client: an order that was in a state.
type ack struct {
	Order   string `json:"order"`
	Store   string `json:"store"`
	Total   int64  `json:"total"`
	Version int64  `json:"version"`
	Status  string `json:"status"`
	Doing   string `json:"doing"`
}

// acks is the clients' own record. It is synced to disk before a client goes on, so that it is worth as much as the
// shop's word. Safe for concurrent use.
type acks struct {
	mu   sync.Mutex
	file *os.File
}

func openAcks(path string) (*acks, error) {
	file, err := os.Create(path)
	return &acks{file: file}, err
}

// keep writes down what the shop answered.
func (a *acks) keep(doing string, store *Store, o *Order) error {
	line, err := json.Marshal(ack{Order: o.ID, Store: store.Slug, Total: o.Total, Version: o.Version, Status: o.Status, Doing: doing})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return a.file.Sync()
}

// readAcks reads the record from its file, not from memory.
func readAcks(path string) (all []ack, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := json.NewDecoder(bufio.NewReader(file))
	for {
		var one ack
		if err := lines.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}
