package sandbox

// shelfBoard is how many things a board holds: small enough that a new one is no pause.
const shelfBoard = 4096

// shelf is a growing row of things that never moves them, unlike a slice.
type shelf[T any] struct {
	boards []*[shelfBoard]T
	n      int
}

func (s *shelf[T]) len() int { return s.n }

func (s *shelf[T]) get(i int) *T { return &s.boards[i/shelfBoard][i%shelfBoard] }

func (s *shelf[T]) add(t T) {
	if s.n%shelfBoard == 0 {
		s.boards = append(s.boards, new([shelfBoard]T))
	}
	s.n++
	*s.get(s.n - 1) = t
}
