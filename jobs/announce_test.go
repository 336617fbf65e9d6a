package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"frenchpress/db"
)

// wanting are so many people who want news by mail.
func (s *shop) wanting(t *testing.T, n int) (emails []string) {
	t.Helper()
	for i := range n {
		emails = append(emails, fmt.Sprintf("person%03d@example.com", i))
		s.wants(t, &db.Contact{Email: emails[i]}, "email", true)
	}
	return emails
}

func (s *shop) wants(t *testing.T, contact *db.Contact, channel string, news bool) {
	t.Helper()
	if err := db.SetPreferences(t.Context(), s.pool, contact, []db.Preference{{Kind: "marketing", Channel: channel, Allowed: news}}); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) announce(t *testing.T, text string) (campaign uuid.UUID, subscribers int) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) (err error) {
		campaign, subscribers, err = s.jobs.Announce(t.Context(), tx, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return campaign, subscribers
}

// announced waits until no job of a campaign is left.
func (s *shop) announced(t *testing.T) {
	t.Helper()
	s.eventually(t, "a campaign is on its way", `
    select not exists (select from river_job where queue = 'announce' and state not in ('completed', 'discarded', 'cancelled'))`)
}

// reached are the addresses of all that was sent, in order.
func (l *letterbox) reached() (to []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.letters {
		to = append(to, m.Address)
	}
	slices.Sort(to)
	return to
}

func TestCampaignReachesEachOnce(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	emails := s.wanting(t, 2*lettersPerJob+7)
	s.wants(t, everywhere, "sms", true)
	s.wants(t, everywhere, "email", false)
	s.wants(t, &db.Contact{Email: emails[0]}, "email", false)
	campaign, subscribers := s.announce(t, "A cup on us.")
	if subscribers != len(emails) {
		t.Errorf("%d subscribers of %d", subscribers, len(emails))
	}
	s.announced(t)
	want := append(slices.Clone(emails[1:]), everywhere.Phone)
	slices.Sort(want)
	checkLines(t, "reached", box.reached(), want...)
	if m := box.letters[0]; m.Text != "A cup on us." || m.Kind != "marketing" || m.StoreID != db.Chain {
		t.Errorf("sent %+v", m)
	}

	var pages []pageArgs
	rows, err := s.pool.Query(t.Context(), `select args from river_job where kind = 'announce_page' order by id`)
	if err == nil {
		pages, err = pgx.CollectRows(rows, pgx.RowTo[pageArgs])
	}
	if err != nil || len(pages) != 3 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages { // as after a crash
		if err := (&pageWorker{client: s.jobs}).Work(t.Context(), &river.Job[pageArgs]{Args: page}); err != nil {
			t.Error(err)
		}
	}
	if again := box.reached(); len(again) != len(want) {
		t.Errorf("run twice it sends %d for %d", len(again), len(want))
	}
	if _, twice := s.announce(t, "A cup on us."); twice != len(want) {
		t.Errorf("another campaign has %d subscribers", twice)
	}
	s.announced(t)
	if both := box.reached(); len(both) != 2*len(want) {
		t.Errorf("%s and another sent %d", campaign, len(both))
	}
}

func TestCampaignForNobody(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	if _, subscribers := s.announce(t, "A cup on us."); subscribers != 0 {
		t.Errorf("%d subscribers", subscribers)
	}
	s.announced(t)
	checkLines(t, "reached", box.reached())
}

// TestCampaignFailsForOne loses nobody, whoever's channel fails.
func TestCampaignFailsForOne(t *testing.T) {
	t.Parallel()
	failures := make(chan struct{}, 2)
	failures <- struct{}{}
	failures <- struct{}{}
	s, box := openPost(t, func(m Message) error {
		if strings.HasPrefix(m.Address, "person002") && len(failures) > 0 {
			<-failures
			return errors.New("mailbox full")
		}
		return nil
	})
	emails := s.wanting(t, 5)
	campaign, _ := s.announce(t, "A cup on us.")
	s.announced(t)
	checkLines(t, "reached", box.reached(), emails...)
	const kind = "marketing email "
	checkLines(t, "logged", s.logged(t, campaignSubject(campaign, emails[2])), kind+"failed mailbox full", kind+"failed mailbox full", kind+"sent")
	checkLines(t, "logged of another", s.logged(t, campaignSubject(campaign, emails[3])), kind+"sent")
}

// TestOptingOutMeanwhile: what is still to be sent is not sent.
func TestOptingOutMeanwhile(t *testing.T) {
	t.Parallel()
	last := &db.Contact{Email: fmt.Sprintf("person%03d@example.com", 2*lettersAtOnce)}
	var s *shop
	s, box := openPost(t, func(m Message) error {
		if strings.HasPrefix(m.Address, "person000") {
			s.wants(t, last, "email", false)
		}
		if !strings.HasPrefix(m.Address, "person000") { // the others leave room for that
			s.eventually(t, "nobody has opted out", `select exists (select from notification_preferences where not allowed)`)
		}
		return nil
	})
	emails := s.wanting(t, 2*lettersAtOnce+1)
	campaign, _ := s.announce(t, "A cup on us.")
	s.announced(t)
	checkLines(t, "reached", box.reached(), emails[:2*lettersAtOnce]...)
	checkLines(t, "logged", s.logged(t, campaignSubject(campaign, last.Email)), "marketing email suppressed the recipient does not want it")
}

// TestCampaignStepIsWhole: a step that dies just before its end leaves no page behind, and is taken again.
func TestCampaignStepIsWhole(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	emails := s.wanting(t, lettersPerJob+1)
	if _, err := s.pool.Exec(t.Context(), `
    create sequence ends;
    create function die() returns trigger language plpgsql as $$
    begin
        if nextval('ends') = 1 then
            raise exception 'the process ends here';
        end if;
        return new;
    end $$;
    create trigger die before update on river_job for each row
        when (new.kind = 'announce' and new.state = 'completed') execute function die()`); err != nil {
		t.Fatal(err)
	}
	s.announce(t, "A cup on us.")
	s.announced(t)
	checkLines(t, "reached", box.reached(), emails...)
	var ends, steps, pages int
	err := s.pool.QueryRow(t.Context(), `
    select (select last_value from ends), count(*) filter (where kind = 'announce'), count(*) filter (where kind = 'announce_page')
    from river_job`).Scan(&ends, &steps, &pages)
	if err != nil || ends != 3 || steps != 2 || pages != 2 {
		t.Errorf("%d ends of %d steps with %d pages, %v", ends, steps, pages, err)
	}
}

func TestAnnouncementIsOneLine(t *testing.T) {
	t.Parallel()
	s, _ := openPost(t, nil)
	for _, text := range []string{"", " ", "two\nlines", strings.Repeat("x", 501)} {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			_, _, err := s.jobs.Announce(t.Context(), tx, text)
			return err
		})
		if err == nil || !strings.HasPrefix(err.Error(), "the text must ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
