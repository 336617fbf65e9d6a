package db_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"frenchpress/db"
)

// Bodies of a request. The last two can never be placed.
const (
	cardBody = iota
	counterBody
	fullBody   // wants a slot of the first store that has no more places
	brokenBody // which PostgreSQL refuses
)

// keyID is a key in its scope; the store is a position.
type keyID struct {
	store      int
	route, key string
}

// keyCall is one request.
type keyCall struct {
	keyID
	process, body int
	payee         int // of the orders that can be paid again
	wait          time.Duration
	unpriced      bool             // fails a rule before the write: it is only asked what the key was used for
	provider      db.PaymentStatus // what is said of the charge, if anything
}

// keyRound is what happens at the same time.
type keyRound struct {
	calls   []keyCall
	paused  [2]bool
	expired []keyID // older than keys are kept
	late    bool    // they are forgotten while the requests are under way, else before
	lost    [2]loss // of each process
}

// loss is which of the coming commits is lost, and which one's answer; 0 is none.
type loss struct{ commit, answer int32 }

// drawKeyRound has few stores and keys, now and then one of each, so that requests meet.
func drawKeyRound(t *rapid.T) keyRound {
	stores, keys := rapid.IntRange(0, 1).Draw(t, "last store"), rapid.IntRange(0, 2).Draw(t, "last key")
	routes := rapid.SampledFrom([][]string{{db.PlacingRoute}, {db.PlacingRoute, db.PlacingRoute, db.PaymentRoute}, {db.PaymentRoute}}).Draw(t, "routes")
	id := rapid.Custom(func(t *rapid.T) keyID {
		return keyID{rapid.IntRange(0, stores).Draw(t, "store"), rapid.SampledFrom(routes).Draw(t, "route"), "abc"[rapid.IntRange(0, keys).Draw(t, "key"):][:1]}
	})
	bodies := rapid.SampledFrom([][]int{{cardBody}, {cardBody, cardBody, counterBody}, {cardBody, cardBody, counterBody, fullBody, brokenBody}}).Draw(t, "bodies")
	waits := rapid.SampledFrom([][]time.Duration{{0}, {0, 0, 20 * time.Millisecond, time.Second}}).Draw(t, "waits")
	call := rapid.Custom(func(t *rapid.T) keyCall {
		c := keyCall{
			keyID: id.Draw(t, "id"), process: rapid.IntRange(0, 1).Draw(t, "process"), body: rapid.SampledFrom(bodies).Draw(t, "body"),
			payee: rapid.IntRange(0, 2).Draw(t, "payee"), wait: rapid.SampledFrom(waits).Draw(t, "wait"),
			unpriced: rapid.IntRange(0, 9).Draw(t, "unpriced") == 9,
			provider: rapid.SampledFrom([]db.PaymentStatus{db.Failed, db.Failed, db.Captured, ""}).Draw(t, "provider"),
		}
		c.unpriced = c.unpriced && c.route == db.PlacingRoute
		if c.provider == "" {
			c.wait = min(c.wait, 20*time.Millisecond) // nobody would end a longer one
		}
		return c
	})
	callers := rapid.SampledFrom([]int{1, 4, 16, 64}).Draw(t, "callers")
	r := keyRound{
		calls: rapid.SliceOfN(call, (callers+1)/2, callers).Draw(t, "calls"),
		late:  rapid.Bool().Draw(t, "late"),
	}
	if rapid.Bool().Draw(t, "expire") {
		r.expired = rapid.SliceOfNDistinct(id, 0, 2, rapid.ID[keyID]).Draw(t, "expired")
	}
	for i := range 2 {
		r.paused[i] = rapid.IntRange(0, 7).Draw(t, "paused") == 7
		r.lost[i] = loss{rapid.SampledFrom([]int32{0, 0, 0, 0, 0, 1, 2}).Draw(t, "lost"), rapid.SampledFrom([]int32{0, 0, 0, 0, 1, 2, 3}).Draw(t, "unheard")}
	}
	return r
}

// What a request may come to.
type said string

const (
	made     said = "made"     // it was the first
	repeated said = "repeated" // it got the order of the first
	reused   said = "reused"   // another body was the first
	refused  said = "refused"  // the key was unused and is so still
	unknown  said = "unknown"  // a commit was lost
	outrun   said = "outrun"   // the key was forgotten at that moment; nothing was done
	wrong    said = "wrong"
)

const forever = time.Duration(math.MaxInt64)

// span is between two moments of a history.
type span struct{ from, to time.Duration }

// keyAnswer is what a request came to; its span ends when the key was decided on.
type keyAnswer struct {
	keyCall
	span
	said     said
	content  string // what the body hash stands for
	order    uuid.UUID
	text     string
	err      error
	errLater error // once the key was decided on
}

func (a *keyAnswer) String() string {
	return fmt.Sprintf("%s by process %d, %v to %v: %s order %s (%v, %v)", a.content, a.process, a.from, a.to, a.said, a.order, a.err, a.errLater)
}

// keyUse is what a key is used for.
type keyUse struct {
	order   uuid.UUID
	content string
	text    string // empty while nobody knows
}

func (u *keyUse) is(a *keyAnswer) bool { return u.order == a.order && u.content == a.content }

// kind sorts what came of a request; whether it was right to come is another question.
func kind(placed db.Placed, err error) said {
	switch {
	case err == nil && placed.Order != nil && placed.Replay == nil:
		return made
	case err == nil && placed.Order == nil && placed.Replay != nil:
		return repeated
	case errors.Is(err, db.ErrKeyReused):
		return reused
	case errors.Is(err, db.ErrCommitUnknown):
		return unknown
	case errors.Is(err, db.ErrRace):
		return outrun
	case err != nil:
		return refused
	}
	return wrong
}

// allowed tells whether the round gave cause for what was said, whatever the key was used for.
func (a *keyAnswer) allowed(r keyRound) bool {
	expired := slices.Contains(r.expired, a.keyID) && r.late
	lost := r.lost[a.process] != loss{}
	switch {
	case a.errLater == nil:
	case expired && errors.Is(a.errLater, db.ErrRace):
	case lost && errors.Is(a.errLater, db.ErrCommitUnknown):
	default:
		return false
	}
	switch a.said {
	case made:
		hopeless := r.paused[a.store] || a.unpriced || a.body == brokenBody || a.body == fullBody && a.store == 0
		return a.route == db.PaymentRoute || !hopeless
	case unknown:
		return lost
	case outrun:
		return expired
	case refused:
		return a.refusable(r)
	}
	return a.said != wrong
}

func (a *keyAnswer) refusable(r keyRound) bool {
	switch {
	case a.route == db.PaymentRoute:
		return errors.Is(a.err, db.ErrNotFound) || errors.Is(a.err, db.ErrNotPayable)
	case a.unpriced:
		return errors.Is(a.err, errUnpriced)
	case r.paused[a.store]:
		return isCode(a.err, db.CodeStorePaused)
	case a.body == fullBody:
		return a.store == 0 && isCode(a.err, db.CodeSlotFull)
	}
	return a.body == brokenBody && refusedWith(a.err, "23514")
}

// judge looks for an order in which all that was said of each key can have happened, and notes what the key is used
// for from now on.
func (h *keyHistory) judge(ctx context.Context, r keyRound, done []keyAnswer, forgotten span) error {
	byKey := map[keyID][]*keyAnswer{}
	for _, id := range r.expired {
		byKey[id] = nil
	}
	for i := range done {
		a := &done[i]
		if !a.allowed(r) {
			return fmt.Errorf("%+v: %s", a.keyID, a)
		}
		byKey[a.keyID] = append(byKey[a.keyID], a)
	}
	for id, answers := range byKey {
		l := &keyLife{answers: answers, before: h.uses[id], expired: slices.Contains(r.expired, id), forgotten: forgotten}
		stored, err := h.stored(ctx, id)
		if err == nil {
			err = l.explain(stored)
		}
		if err != nil {
			return fmt.Errorf("%+v: %w; was %+v, is %+v: %s", id, err, l.before, stored, answers)
		}
		if h.uses[id] = l.after; l.maker != nil {
			h.note(l.maker)
		}
	}
	return nil
}

// stored is what the database has under a key, nil for nothing.
func (h *keyHistory) stored(ctx context.Context, id keyID) (*keyUse, error) {
	u := new(keyUse)
	err := h.processes[0].pool.QueryRow(ctx, `
    select order_id, convert_from(body_hash, 'UTF8')
    from idempotency_keys
    where store_id = $1 and route = $2 and key = $3`, h.stores[id.store].ID, id.route, h.key(id)).Scan(&u.order, &u.content)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return u, err
}

// note counts the charges that a key asked for.
func (h *keyHistory) note(maker *keyAnswer) {
	charges := 1
	if maker.route == db.PlacingRoute && maker.body == counterBody {
		charges = 0
	}
	h.charges[maker.order] += charges
}

// keyLife is what becomes of one key in a round: it is what it was until it is forgotten, then unused until a request
// makes it what it is after.
type keyLife struct {
	answers       []*keyAnswer
	before, after *keyUse
	expired       bool
	forgotten     span
	maker         *keyAnswer
}

func (l *keyLife) explain(stored *keyUse) error {
	kept := l.before != nil && !l.expired
	makers, err := l.makers(stored, kept)
	switch {
	case err != nil:
		return err
	case kept && (stored == nil || stored.order != l.before.order || stored.content != l.before.content):
		return errors.New("a key in use changed")
	case !kept && stored == nil && len(makers) > 0:
		return errors.New("an order was made and its key is unused")
	case !kept && stored != nil && len(makers) == 0:
		return errors.New("no request made this")
	}
	if len(makers) == 0 {
		if kept {
			l.after = l.before
		}
		if !l.fits(forever, nil) {
			return errors.New("not in any order")
		}
		return l.agree(l.before)
	}
	for _, maker := range makers {
		after := &keyUse{order: stored.order, content: stored.content}
		if !after.is(maker) {
			continue
		}
		if slices.ContainsFunc(l.moments(maker.span), func(at time.Duration) bool { return l.fits(at, after) }) {
			l.maker, l.after = maker, after
			return errors.Join(l.agree(l.before), l.agree(after))
		}
	}
	return errors.New("not in any order")
}

// makers are the requests that may have been the first: the one that says so, else those that do not know.
func (l *keyLife) makers(stored *keyUse, kept bool) ([]*keyAnswer, error) {
	var sure, perhaps []*keyAnswer
	for _, a := range l.answers {
		switch {
		case a.said == made:
			sure = append(sure, a)
		case a.said == unknown && stored != nil && stored.is(a):
			perhaps = append(perhaps, a)
		}
	}
	switch {
	case len(sure) > 1 || len(sure) > 0 && kept:
		return nil, errors.New("made more than once")
	case len(sure) > 0:
		return sure, nil
	case kept:
		return nil, nil
	}
	return perhaps, nil
}

// fits tells whether everything said is true if the key is made what it is after at some moment.
func (l *keyLife) fits(madeAt time.Duration, after *keyUse) bool {
	forgotten := []time.Duration{-1} // it was unused from the start
	switch {
	case l.before != nil && l.expired:
		forgotten = l.moments(l.forgotten)
	case l.before != nil:
		forgotten = []time.Duration{forever}
	}
	return slices.ContainsFunc(forgotten, func(forgottenAt time.Duration) bool {
		return forgottenAt <= madeAt && !slices.ContainsFunc(l.answers, func(a *keyAnswer) bool {
			return !l.holds(a, forgottenAt, madeAt, after)
		})
	})
}

func (l *keyLife) holds(a *keyAnswer, forgottenAt, madeAt time.Duration, after *keyUse) bool {
	meets := func(fine func(*keyUse) bool) bool {
		return l.before != nil && a.from <= forgottenAt && fine(l.before) || after != nil && a.to >= madeAt && fine(after)
	}
	switch a.said {
	case refused:
		return a.to >= forgottenAt && a.from <= madeAt
	case repeated:
		return meets(func(u *keyUse) bool { return u.is(a) })
	case reused:
		return meets(func(u *keyUse) bool { return u.content != a.content })
	}
	return true
}

// moments are those in a span at which the order of things can change.
func (l *keyLife) moments(in span) []time.Duration {
	found := []time.Duration{in.from, in.to}
	for _, a := range l.answers {
		for _, at := range []time.Duration{a.from, a.to} {
			if at > in.from && at < in.to {
				found = append(found, at)
			}
		}
	}
	return found
}

// agree has all who got a use of the key get the same bytes. A payment that was asked for again after it was forgotten
// cannot be told from the one before by its order: those answers stand for nothing.
func (l *keyLife) agree(u *keyUse) error {
	if u == nil || l.maker != nil && l.before != nil && l.before.is(l.maker) {
		return nil
	}
	for _, a := range l.answers {
		if a.text == "" || !u.is(a) {
			continue
		}
		if u.text = cmp.Or(u.text, a.text); u.text != a.text {
			return fmt.Errorf("two answers:\n%s\n%s", u.text, a.text)
		}
	}
	return nil
}
