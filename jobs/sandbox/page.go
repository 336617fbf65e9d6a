package sandbox

import (
	"math"
	"sort"
)

// page is a part of a list, newest first, of what was created within a span of microseconds.
type page struct {
	limit       int
	least, most int64
}

const pageMax = 100

func (s *Sandbox) readPage(f form) (*page, error) {
	limit, err := f.number("limit", 10, 1, pageMax)
	if err != nil {
		return nil, err
	}
	p := &page{limit: int(limit), least: math.MinInt64, most: math.MaxInt64}
	const second = 1_000_000
	for name, narrow := range map[string]func(at int64){
		"created":      func(at int64) { p.least, p.most = at*second, (at+1)*second-1 },
		"created[gte]": func(at int64) { p.least = max(p.least, at*second) },
		"created[gt]":  func(at int64) { p.least = max(p.least, (at+1)*second) },
		"created[lt]":  func(at int64) { p.most = min(p.most, at*second-1) },
		"created[lte]": func(at int64) { p.most = min(p.most, (at+1)*second-1) },
	} {
		at, err := f.number(name, -1, 0, math.MaxInt64/second-1)
		if err != nil {
			return nil, err
		}
		if at >= 0 {
			narrow(at)
		}
	}
	return p, nil
}

// pick is the page below an index, and one more if there is more. Things are created in the order of their index.
func (p *page) pick(below int, created func(int) int64) []int {
	below = sort.Search(below, func(i int) bool { return created(i) > p.most })
	var found []int
	for i := below - 1; i >= 0 && len(found) <= p.limit && created(i) >= p.least; i-- {
		found = append(found, i)
	}
	return found
}
