package jobs

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"frenchpress/db"
)

func TestGroupArgs(t *testing.T) {
	t.Parallel()
	one, two := db.OrderRef{StoreID: 7, ID: uuid.New()}, db.OrderRef{StoreID: 31_048, ID: uuid.New()}
	for _, x := range []struct{ args, read any }{
		{&chargeArgs{orderList{one, two}}, new(chargeArgs)},
		{&chargeArgs{}, new(chargeArgs)},
		{&notifyArgs{noticeList{{OrderRef: one, Kind: "order_ready"}, {OrderRef: one, Kind: "refund_issued"}, {OrderRef: two, Kind: "order_ready"}}}, new(notifyArgs)},
	} {
		text, err := json.Marshal(x.args)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, x.read); err != nil || !reflect.DeepEqual(x.args, x.read) {
			t.Errorf("%s was read as %v (%v)", text, x.read, err)
		}
	}
	for _, text := range []string{`"7"`, `"7/x"`, `"x/` + one.ID.String() + `"`, `"` + one.Reference() + `,` + two.Reference() + `"`, `7`, `[7]`} {
		if err := json.Unmarshal([]byte(`{"orders": `+text+`}`), new(chargeArgs)); err == nil {
			t.Errorf("%s was read as orders", text)
		}
		if err := json.Unmarshal([]byte(`{"notices": `+text+`}`), new(notifyArgs)); err == nil {
			t.Errorf("%s was read as notices", text)
		}
	}
}

// TestArgsOfAnOlderProgram works jobs that an older program left waiting, with arrays in their args.
func TestArgsOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	s, box := openPost(t, nil)
	charged, told := s.forgotten(t, "tok_visa"), s.changeSilently(t, "ready", s.silent(t, everywhere))
	s.exec(t, `insert into river_job (kind, args, state, queue, max_attempts) values
		('charge', jsonb_build_object('orders', jsonb_build_array(jsonb_build_object('s', $1::int, 'o', $2::text))), 'available', 'charge', 3),
		('notify', jsonb_build_object('notices', jsonb_build_array(jsonb_build_object('s', $3::int, 'o', $4::text, 'k', 'order_ready'))), 'available', 'notify', 3)`,
		charged.StoreID, charged.ID, told.StoreID, told.ID)
	s.await(t, charged.Ref(), within, func(o *db.Order) bool { return o.Status == db.StatusPlaced })
	s.notified(t)
	if got := box.about(told.ID); !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "order_ready") }) {
		t.Errorf("sent: %q", got)
	}
}

// TestStory wants an order's jobs in its story, those that it shared with others too, and nobody else's.
func TestStory(t *testing.T) {
	t.Parallel()
	s, _ := openPost(t, nil)
	o, other := s.paid(t, everywhere), s.paid(t, everywhere)
	s.notified(t)
	s.do(t, "ready", o)
	s.notified(t)
	s.exec(t, `update order_history set at = at + interval '1 hour' where order_id = $1 and status = 'ready'`, o.ID)
	s.exec(t, `update river_job set created_at = created_at + interval '1 hour' where kind = 'notify' and args::text like '%order_ready%'`)
	cancelled := s.await(t, s.cancelled(t, s.paid(t, nil)).Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Refunded })
	if _, err := s.jobs.river.Insert(t.Context(), chargeArgs{orderList{other.Ref(), cancelled.Ref()}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		order *db.Order
		want  []string
	}{
		{o, []string{"charge", "notify", "notify"}},
		{other, []string{"charge", "charge", "notify"}},
		{cancelled, []string{"charge", "charge", "refund"}},
	} {
		order, err := db.OrderByID(t.Context(), s.pool, x.order.Ref())
		if err != nil {
			t.Fatal(err)
		}
		story, err := s.jobs.Story(t.Context(), order)
		var got []string
		for _, e := range story {
			kind, _, _ := strings.Cut(e.Title, ":")
			got = append(got, kind)
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, x.want) {
			t.Errorf("the story has the jobs %v, want %v (%v)", got, x.want, err)
		}
	}
}
