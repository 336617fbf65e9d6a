package main

import (
	"time"

	"github.com/tidwall/gjson"
)

// statusAfter is what an order is after a command was applied.
var statusAfter = map[Step]string{stepStart: "in_progress", stepReady: "ready", stepCollect: "picked_up"}

// command writes a tap on a board as a request.
func (l *Load) command(c *Conn, store *Store, kind, order string, more ...byte) {
	c.tap = append(append(c.tap[:0], `{"commands":[{"id":"`...), newKey()...)
	c.tap = append(append(c.tap, `","type":"`...), kind...)
	c.tap = append(append(c.tap, `","order":"`...), order...)
	c.tap = append(c.tap, `","occurred_at":"`...)
	c.tap = time.Now().UTC().AppendFormat(c.tap, time.RFC3339Nano)
	c.tap = append(append(c.tap, `","device_seq":`...), c.number(store.taps.Add(1))...)
	c.tap = append(append(c.tap, more...), "}]}"...)
	c.Request("POST", "/v1/stores/", store.Slug, "/commands")
	c.Header("Authorization", "Bearer ", store.Token)
	c.Body(c.tap)
}

// readResult reads the answer to one command, which must have been applied.
func (c *Conn) readResult(kind, order string) (s State, err error) {
	if c.Status() != 200 {
		return s, c.refused(kind)
	}
	result := gjson.Get(text(c.Answer()), "results.0")
	if got := result.Get("result").Str; got != "applied" {
		return s, faultf("command", "%s of %s: %q %s", kind, order, got, result.Get("reason").Str)
	}
	return readState(bytesOf(result.Get("order").Raw))
}

// applied checks the answer to a tap.
func (v *visit) applied(step Step) error {
	s, err := v.calls.readResult(step.String(), v.id)
	switch {
	case err != nil:
		return err
	case s.ID != v.id || s.Status != statusAfter[step]:
		return faultf("command", "%s of %s answered with %s, %s", step, v.id, s.ID, s.Status)
	case s.Version <= v.version:
		return faultf("version", "%s of %s answered with version %d after %d", step, v.id, s.Version, v.version)
	}
	v.version = s.Version
	return nil
}
