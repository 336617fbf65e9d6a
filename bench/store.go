package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// maxStores bounds the stores of a run.
const maxStores = 200_000

// Store is one store of the target and what its board and its customers know of it.
type Store struct {
	Index int32
	Slug  string
	Token string               // of a device of its board
	Menu  atomic.Pointer[Menu] // as last seen
	taps  atomic.Int64         // device_seq: commands sent from its board
	asked atomic.Bool          // for an order, whatever it answered
}

// Menu is what a customer's phone keeps of a menu, as far as it matters here.
type Menu struct {
	Tag  string
	Size int
}

// readStores reads lines of "slug token", at most limit of them; 0 is all.
func readStores(path string, limit int) ([]*Store, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if limit == 0 {
		limit = maxStores
	}
	var stores []*Store
	known := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan() && len(stores) < limit; {
		slug, token, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if !ok {
			return nil, fmt.Errorf("%s: line %d is not \"slug token\"", path, len(stores)+1)
		}
		if known[slug] {
			return nil, fmt.Errorf("%s names %s twice", path, slug)
		}
		known[slug] = true
		stores = append(stores, &Store{Index: int32(len(stores)), Slug: slug, Token: token})
	}
	if len(stores) == 0 {
		return nil, fmt.Errorf("%s names no store", path)
	}
	return stores, nil
}
