package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
)

// Refusal is an answer other than the one hoped for.
type Refusal struct {
	Doing  string
	Status int
	Code   string // of the problem
	Detail string
	Later  bool // it says when to come back
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s %s", r.Doing, r.Status, r.Code, r.Detail)
}

// refused reads the refusal that was just received.
func (c *Conn) refused(doing string) error {
	r := &Refusal{Doing: doing, Status: c.Status(), Later: len(c.AnswerHeader("Retry-After")) > 0}
	r.Code, r.Detail = gjson.GetBytes(c.Answer(), "code").String(), gjson.GetBytes(c.Answer(), "detail").String()
	return &Fault{"status " + strconv.Itoa(r.Status), r}
}

// shed tells whether the target was too busy, and said so as it should: with a Retry-After. That is no fault of
// a target that is asked for more than it can do.
func shed(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Status == 503 && r.Later
}
