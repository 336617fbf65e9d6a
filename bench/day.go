package main

import (
	"context"
)

type dayRun struct {
	Settings `embed:""`
}

// Run puts a chain's morning on the target, from five to noon, compressed into the duration. The rate is its peak's.
func (s *dayRun) Run(ctx context.Context) error {
	return s.lifecycles(ctx, "day", s, func(l *Load) {
		l.Run(ctx, arrivals(day(s.Rate, s.Duration), s.random()), l.lifecycle)
	})
}
