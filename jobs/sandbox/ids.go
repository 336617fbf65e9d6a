package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
)

// id names the index-th thing of a kind: pi_<index>_<suffix>, the suffix such that nobody without the books can
// make it up. Two charges of one intent differ by their attempt.
func (s *Sandbox) id(kind string, index, attempt int) string {
	var seed [64]byte
	b := append(append(seed[:0], s.secret...), kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	b = binary.BigEndian.AppendUint64(b, uint64(attempt))
	sum := sha256.Sum256(b)
	suffix := binary.BigEndian.Uint64(sum[:])
	b = append(append(seed[:0], kind...), '_')
	b = append(strconv.AppendInt(b, int64(index), 36), '_')
	return string(strconv.AppendUint(b, suffix, 36))
}

// index is which thing of a kind an id names.
func (s *Sandbox) index(kind, id string, n int) (int, bool) {
	rest, ok := strings.CutPrefix(id, kind+"_")
	number, _, _ := strings.Cut(rest, "_")
	i, err := strconv.ParseUint(number, 36, 31)
	return int(i), ok && err == nil && int(i) < n && s.id(kind, int(i), 0) == id
}

func random() string { return strconv.FormatUint(rand.Uint64()|1<<63, 36) }

func hash(parts ...string) uint64 {
	var room [1024]byte
	b := room[:0]
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
