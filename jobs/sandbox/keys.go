package sandbox

import "time"

const (
	// keysFor is how long a key is kept at least, as the real provider does, while keysMax allows it.
	keysFor = 24 * time.Hour
	// keysMax bounds one of the two generations, about 250 MB. At a chain's peak of 1,000 charges a second, two keys each,
	// the two remember one to two hours, at 90 charges a second a whole day: far longer than any caller repeats a call.
	keysMax = 8 << 20
	// tallyMax bounds each of the two generations of counted calls; only calls that are refused on purpose are counted.
	tallyMax = 64 << 10
)

// keys are the idempotency keys by their hash: where the answer kept under one stands in the books, which also
// hold the key itself. Two generations make forgetting the old ones a matter of one assignment.
type keys struct {
	young, old map[uint64]int64
	since      int64 // of the young ones, microseconds
	under      map[uint64]struct{}
}

func newKeys() keys {
	return keys{young: map[uint64]int64{}, old: map[uint64]int64{}, under: map[uint64]struct{}{}}
}

// keep remembers where the answer to a key stands, and that the key is no longer under way.
func (k *keys) keep(key uint64, at, now int64) {
	if k.since == 0 {
		k.since = now
	}
	if now-k.since > keysFor.Microseconds() || len(k.young) >= keysMax {
		k.young, k.old, k.since = map[uint64]int64{}, k.young, now
	}
	k.young[key] = at
	delete(k.under, key)
}

func (k *keys) find(key uint64) (at int64, ok bool) {
	if at, ok = k.young[key]; !ok {
		at, ok = k.old[key]
	}
	return at, ok
}

// take says whether a key was free, which it is not any more.
func (k *keys) take(key uint64) bool {
	if _, taken := k.under[key]; taken {
		return false
	}
	k.under[key] = struct{}{}
	return true
}

func (k *keys) free(key uint64) { delete(k.under, key) }

// tally counts calls by key, in two generations as well.
type tally struct{ young, old map[uint64]int }

func newTally() tally { return tally{young: map[uint64]int{}, old: map[uint64]int{}} }

// count is how often a key was counted before.
func (t *tally) count(key uint64) int {
	n, ok := t.young[key]
	if !ok {
		n = t.old[key]
	}
	if len(t.young) >= tallyMax {
		t.young, t.old = map[uint64]int{}, t.young
	}
	t.young[key] = n + 1
	return n
}
