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
	for _, text := range []string{`"7"`, `"7/x"`, `"x/` + one.ID.String() + `"`, `"` + one.Reference() + `,` + two.Reference() + `"`, `7`, `[{}]`} {
		if err := json.Unmarshal([]byte(`{"orders": `+text+`}`), new(chargeArgs)); err == nil {
			t.Errorf("%s was read as orders", text)
		}
		if err := json.Unmarshal([]byte(`{"notices": `+text+`}`), new(notifyArgs)); err == nil {
			t.Errorf("%s was read as notices", text)
		}
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
