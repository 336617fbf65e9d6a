package main

import (
	"context"
	"fmt"
	"time"
)

type placeRun struct {
	Settings `embed:""`
	Clients  uint `help:"Instead of a rate: so many customers, the next one starting when one is answered. Finds the most that a target can do."`
}

// Run places orders at a constant rate, or as fast as the target answers, then reads back what was accepted.
func (s *placeRun) Run(ctx context.Context) error {
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	if err := l.quoteAll(); err != nil {
		return err
	}
	s.drive(ctx, l, s.Clients, l.place)
	r := l.report("place")
	r.ReadBack = l.readBack("placed")
	return s.finish(l, r, s)
}

// place only places an order.
func (l *Load) place(a Arrival) error {
	c := l.Pool.Get()
	defer l.Pool.Put(c)
	_, err := l.placeOn(c, a, a.Basket.Total)
	took := time.Since(a.At)
	switch {
	case err == nil:
		l.Meter.Record(stepPlace, took)
	case shed(err):
		l.Meter.Shed.Add(1)
		l.Meter.Record(stepShed, took)
	}
	return err
}

// placeOn places an order that was quoted and checks the answer.
func (l *Load) placeOn(c *Conn, a Arrival, total int64) (o Order, err error) {
	a.Store.asked.Store(true)
	c.Request("POST", "/v1/stores/", a.Store.Slug, "/orders")
	c.Header("Idempotency-Key", newKey())
	c.Body(a.Basket.Place, c.number(total), a.Basket.End)
	if err := c.Do(); err != nil {
		return o, err
	}
	if c.Status() != 201 && c.Status() != 202 {
		return o, c.refused("placing")
	}
	if o, err = readOrder(c.Answer()); err != nil {
		return o, err
	}
	l.Meter.Accepted.Add(1)
	if err := l.Ledger.Add(a.Store, &o, a.Basket.Counter); err != nil {
		return o, err
	}
	if _, err := a.Basket.readPriced(c.Answer()); err != nil {
		return o, fmt.Errorf("order %s: %w", o.ID, err)
	}
	switch settled := o.Status != "payment_pending"; {
	case o.Total != total:
		return o, faultf("total", "order %s: %d, but quoted %d", o.ID, o.Total, total)
	case o.Token == "":
		return o, faultf("answer", "order %s has no token", o.ID)
	case settled != (c.Status() == 201):
		return o, faultf("answer", "order %s is %s with status %d", o.ID, o.Status, c.Status())
	}
	return o, nil
}

// quoteOn asks what a basket costs.
func (l *Load) quoteOn(c *Conn, store *Store, basket *Basket) (total int64, err error) {
	c.Request("POST", "/v1/stores/", store.Slug, "/quotes")
	c.Body(basket.Quote)
	if err := c.Do(); err != nil {
		return 0, err
	}
	if c.Status() != 200 {
		return 0, c.refused("quoting")
	}
	return basket.readPriced(c.Answer())
}

// quoteAll asks before the run what each basket costs; the chain's stores have one price list.
func (l *Load) quoteAll() error {
	if err := l.priceAll(); err != nil {
		return err
	}
	c := l.Pool.Get()
	defer l.Pool.Put(c)
	for _, basket := range l.Baskets {
		total, err := l.quoteOn(c, l.Stores[0], basket)
		if err != nil {
			return err
		}
		basket.Total = total
	}
	return nil
}
