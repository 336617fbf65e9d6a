package jobs

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"frenchpress/db"
)

// forgetful is a member of staff who has asked for a new password.
func (s *shop) forgetful(t *testing.T) (reset uuid.UUID, code string) {
	t.Helper()
	if _, _, err := db.AddStaff(t.Context(), s.pool, "mia", db.Support); err != nil {
		t.Fatal(err)
	}
	if err := db.SetEmail(t.Context(), s.pool, "mia", "mia@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := s.jobs.RequestReset(t.Context(), "mia"); err != nil {
		t.Fatal(err)
	}
	if err := s.pool.QueryRow(t.Context(), `select id from password_resets`).Scan(&reset); err != nil {
		t.Fatal(err)
	}
	found, err := db.FindReset(t.Context(), s.pool, reset)
	if err != nil {
		t.Fatal(err)
	}
	return reset, found.Code(s.jobs.config.Secret)
}

func (s *shop) workReset(t *testing.T, reset uuid.UUID) {
	t.Helper()
	if err := (&resetWorker{client: s.jobs}).Work(t.Context(), &river.Job[resetArgs]{Args: resetArgs{reset}}); err != nil {
		t.Error(err)
	}
}

func TestResetCodeIsSentOnce(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	reset, code := s.forgetful(t)
	s.eventually(t, "the code is not sent", `select exists (select from notification_log where subject = $1)`, reset)
	s.workReset(t, reset)
	s.workReset(t, uuid.New()) // of nobody
	checkLines(t, "sent", box.about(reset), "password_reset email mia@example.com")
	if text := box.letters[0].Text; !strings.Contains(text, code) || box.letters[0].StoreID != db.Chain {
		t.Errorf("without the code %s: %+v", code, box.letters[0])
	}
}

func TestStaleResetIsNotSent(t *testing.T) {
	t.Parallel()
	for why, change := range map[string]string{
		"the code has been used": `update password_resets set used_at = now()`,
		"the code is too old":    `update password_resets set created_at = now() - interval '16 minutes'`,
	} {
		s, box := openPost(t, nil)
		reset, _ := s.forgetful(t)
		s.eventually(t, "the code is not sent", `select exists (select from notification_log where subject = $1)`, reset)
		again := uuid.New() // asked for again, and the job comes late
		if _, err := s.pool.Exec(t.Context(), `update password_resets set id = $1`, again); err != nil {
			t.Fatal(err)
		}
		if _, err := s.pool.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		s.workReset(t, reset)
		s.workReset(t, again)
		s.workReset(t, again)
		checkLines(t, "logged", s.logged(t, again), "password_reset email suppressed "+why)
		if got := box.about(again); got != nil {
			t.Errorf("sent %q", got)
		}
	}
}
