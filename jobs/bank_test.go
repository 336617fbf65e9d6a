package jobs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"frenchpress/db"
)

// bank is a provider for the payment machine's test: it decides at once, in memory, and lets answers go astray.
type bank struct {
	rand    *rand.Rand
	honest  bool           // from now on everything is answered
	card    int            // the order's: what becomes of its charge
	cards   map[string]int // by intent
	intents []*Intent
	kept    map[string]said   // by idempotency key
	asked   map[string]string // under a key: the reason of a cancellation
	late    []func()          // what it was asked, and will do later
	under   map[string]bool   // keys of those
}

// What a card does.
const (
	cardPays = iota
	cardDeclines
	cardIsSlow
	cardDemandsAction
	cardIsUnknown
	cards
)

func newBank(random *rand.Rand) *bank {
	return &bank{rand: random, card: random.IntN(cards), cards: map[string]int{}, kept: map[string]said{}, asked: map[string]string{}, under: map[string]bool{}}
}

var errFault = errors.New("as it happens")

// ask is one call, whose answer may be lost.
func (b *bank) ask(c *db.Charge, do step) said {
	if do.Do == toRead {
		if !b.honest && b.rand.IntN(4) == 0 {
			return said{Word: silent, Err: errFault}
		}
		return b.read(c.Intent)
	}
	key := c.KeyFor(string(do.Do))
	if b.under[key] {
		return said{Word: busy, Err: errFault}
	}
	if kept, there := b.kept[key]; there {
		if kept.Word == failing || kept.Word == astray || b.asked[key] != do.Reason {
			kept.Word = spent
		}
		return b.perhaps(kept)
	}
	b.asked[key] = do.Reason
	carryOut := func() said { return b.do(c, do) }
	if b.honest {
		return b.keep(key, carryOut())
	}
	switch b.rand.IntN(12) {
	case 0: // the request is lost
		return said{Word: silent, Err: errFault}
	case 1: // it comes late
		b.under[key] = true
		b.late = append(b.late, func() {
			delete(b.under, key)
			b.keep(key, carryOut())
		})
		return said{Word: silent, Err: errFault}
	case 2: // nothing was done, and that is kept
		return b.keep(key, said{Word: failing, Err: errFault})
	case 3: // it was done, and what is kept is a 500
		carryOut()
		return b.keep(key, said{Word: failing, Err: errFault})
	case 4: // nothing was done or kept
		return said{Word: failing, Err: errFault}
	case 5:
		return said{Word: busy, Err: errFault}
	}
	return b.perhaps(b.keep(key, carryOut()))
}

// perhaps loses an answer now and then.
func (b *bank) perhaps(answer said) said {
	if !b.honest && b.rand.IntN(6) == 0 {
		return said{Word: silent, Err: errFault}
	}
	return answer
}

func (b *bank) keep(key string, answer said) said {
	b.kept[key] = answer
	return answer
}

// carryOut does what came late.
func (b *bank) carryOut() {
	late := b.late
	b.late = nil
	for _, do := range late {
		do()
	}
}

// shown is an intent as an answer has it: later changes do not reach it.
func shown(in *Intent) said {
	as := *in
	return said{Word: told, Intent: &as}
}

func (b *bank) find(id string) *Intent {
	i := slices.IndexFunc(b.intents, func(in *Intent) bool { return in.ID == id })
	return b.intents[i]
}

// read also is where what was processing ends at some time.
func (b *bank) read(id string) said {
	in := b.find(id)
	if in.State == processing && (b.honest || b.rand.IntN(3) == 0) {
		switch b.rand.IntN(4) {
		case 0:
			in.State, in.Failure = needsCard, "card_declined"
		case 1:
			in.State = needsAction
		default:
			in.State = succeeded
		}
	}
	return shown(in)
}

func (b *bank) do(c *db.Charge, do step) said {
	switch do.Do {
	case toCreate:
		return b.create()
	case toConfirm:
		return b.confirm(b.find(c.Intent))
	default:
		return b.cancel(b.find(c.Intent), do.Reason)
	}
}

func (b *bank) create() said {
	if b.card == cardIsUnknown {
		return said{Word: declined, Failure: "invalid_token"}
	}
	in := &Intent{ID: fmt.Sprintf("pi_%d", len(b.intents)+1), State: needsConfirming}
	b.intents, b.cards[in.ID] = append(b.intents, in), b.card
	return shown(in)
}

func (b *bank) confirm(in *Intent) said {
	if in.State != needsConfirming {
		return said{Word: astray, Err: errFault}
	}
	switch b.cards[in.ID] {
	case cardPays:
		in.State = succeeded
	case cardIsSlow:
		in.State = processing
	case cardDemandsAction:
		in.State = needsAction
	default:
		in.State, in.Failure = needsCard, "card_declined"
	}
	return shown(in)
}

func (b *bank) cancel(in *Intent, reason string) said {
	if in.State == succeeded || in.State == processing || in.State == canceled {
		return said{Word: astray, Err: errFault}
	}
	in.State, in.Reason = canceled, reason
	return shown(in)
}
