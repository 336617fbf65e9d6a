package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestCommandSentAgain wants the first result of each command, whatever happened to the order since.
func TestCommandSentAgain(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	one, two := s.device(t, testStore), s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	nobodys := uuid.Must(uuid.NewV7()).String()
	sent := []object{
		command("collect", object{"order": o.ID}),
		command("start", object{"order": o.ID}),
		command("start", object{"order": o.ID}),
		command("undo", object{"order": o.ID, "base_version": 1}),
		command("ready", object{"order": nobodys}),
		command("sold_out", object{"item": "latte"}),
		command("sold_out", object{"item": "latte", "occurred_at": "2020-01-01T09:00:00Z"}),
	}
	first := s.commands(t, one, sent...)
	for i, want := range []string{"rejected not_ready", "applied ", "noop ", "superseded ", "rejected unknown_order", "applied ", "superseded "} {
		if first[i].String() != want {
			t.Fatalf("command %d: %v, want %s", i, first[i], want)
		}
	}
	now := s.moved(t, two, o, "ready", "take_payment", "collect")
	s.commands(t, two, command("available", object{"item": "latte"}))
	again := s.commands(t, two, sent...) // another device has taken over
	for i := range sent {
		if again[i].String() != first[i].String() || again[i].Holder != first[i].Holder {
			t.Errorf("command %d sent again: %v %s, first it was %v %s", i, again[i], again[i].Holder, first[i], first[i].Holder)
		}
		if shown := again[i].Order; sent[i]["order"] == o.ID && (shown == nil || shown.Version != now.Version || shown.Status != "picked_up") {
			t.Errorf("command %d sent again shows %+v, the order is at version %d", i, shown, now.Version)
		}
	}
	if at := s.get(t, o); at.Version != now.Version {
		t.Errorf("the repetition moved the order to %s %d", at.Status, at.Version)
	}
	if !s.sells(t, "latte") {
		t.Error("the repetition took the latte away again")
	}
}

// sells tells whether an item is available.
func (s *shop) sells(t *testing.T, item string) bool {
	t.Helper()
	var menu struct {
		Categories []struct {
			Items []struct {
				ID        string
				Available bool
			}
		}
	}
	s.call(t, "GET", "/v1/stores/"+testStore+"/menu", "", nil).wants(t, http.StatusOK).into(t, &menu)
	for _, category := range menu.Categories {
		for _, i := range category.Items {
			if i.ID == item {
				return i.Available
			}
		}
	}
	t.Fatalf("there is no %s on the menu", item)
	return false
}

// changed is a command with some members replaced.
func changed(c, changes object) object {
	c = maps.Clone(c)
	maps.Copy(c, changes)
	return c
}

func TestCommandReused(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	orders := s.counterOrders(t, 2)
	start := command("start", object{"order": orders[0].ID})
	later := time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)
	changes := []object{
		{"order": orders[1].ID}, {"type": "ready"}, {"device_seq": 2}, {"occurred_at": later}, {"base_version": 1},
		{"type": "cancel", "reason": "x"}, {"type": "undo", "base_version": 2},
	}
	calls := []object{start, start}
	for _, change := range changes {
		calls = append(calls, changed(start, change))
	}
	pause := command("pause", object{"until": later})
	calls = append(calls, pause, pause,
		changed(pause, object{"until": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}),
		changed(pause, object{"id": start["id"]}))
	want := slices.Repeat([]string{"rejected command_reused"}, len(calls))
	want[0], want[1] = "applied ", "applied "
	want[2+len(changes)], want[3+len(changes)] = "applied ", "applied "
	for name, results := range map[string][]result{"inside one call": s.commands(t, board, calls...), "in another": s.commands(t, board, calls...)} {
		for i, r := range results {
			if r.String() != want[i] {
				t.Errorf("%s, command %d: %v, want %s", name, i, r, want[i])
			}
		}
	}
	for i, version := range []int{2, 1} {
		if o := s.get(t, orders[i]); o.Version != version {
			t.Errorf("order %d is %s %d", i, o.Status, o.Version)
		}
	}
}

// TestSameCommandAtOnce sends one command many times at once, and one id with two contents.
func TestSameCommandAtOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	orders := s.counterOrders(t, 3)
	same := command("start", object{"order": orders[0].ID})
	pause := command("pause", object{"until": time.Now().Add(-time.Second).UTC().Format(time.RFC3339)})
	var wave sync.WaitGroup
	for range 8 {
		for _, c := range []object{same, pause} {
			wave.Go(func() {
				if r := s.commands(t, board, c)[0]; r.Result != "applied" {
					t.Errorf("%s sent eight times at once: %v", c["type"], r)
				}
			})
		}
	}
	id, outcomes := uuid.NewString(), make([]result, 2)
	for i, o := range orders[1:] {
		wave.Go(func() { outcomes[i] = s.commands(t, board, command("start", object{"id": id, "order": o.ID}))[0] })
	}
	wave.Wait()
	if o := s.get(t, orders[0]); o.Version != 2 {
		t.Errorf("the order is at version %d", o.Version)
	}
	got := []string{outcomes[0].String(), outcomes[1].String()}
	slices.Sort(got)
	if !slices.Equal(got, []string{"applied ", "rejected command_reused"}) {
		t.Errorf("one id for two orders at once: %q", got)
	}
}

func TestCommandsInArrayOrder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	orders := s.counterOrders(t, 10)
	kinds := []string{"start", "ready", "take_payment", "collect", "collect", "start", "undo", "cancel", "seen", "seen"}
	want := []string{"applied ", "applied ", "applied ", "applied ", "noop ", "superseded ", "rejected picked_up", "rejected already_made", "applied ", "noop "}
	var calls []object
	for i, o := range orders {
		for _, kind := range kinds {
			calls = append(calls, changed(conflicting(kind, o), object{"device_seq": 7 * (len(calls) + i)})) // with gaps
		}
	}
	slices.Reverse(calls[:10]) // the first order's commands the other way round
	wantFirst := []string{"applied ", "noop ", "rejected ", "rejected nothing_to_undo"}
	for i, r := range s.commands(t, board, calls...) {
		if r.ID != calls[i]["id"] {
			t.Errorf("result %d is for %s, want %s", i, r.ID, calls[i]["id"])
		}
		if i >= 10 && r.String() != want[i%10] {
			t.Errorf("command %d, %s: %v, want %s", i, kinds[i%10], r, want[i%10])
		}
		if i < 2 && r.String() != wantFirst[i] {
			t.Errorf("the other way round, command %d: %v", i, r)
		}
	}
	if o := s.get(t, orders[0]); o.Status != "cancelled" {
		t.Errorf("cancelled before all else, the first order is %s", o.Status)
	}
	s.checkSequence(t, calls)
}

// checkSequence wants the sequence numbers of the device kept as they were sent.
func (s *shop) checkSequence(t *testing.T, sent []object) {
	t.Helper()
	for _, c := range sent {
		var seq int
		err := s.api.pool.QueryRow(t.Context(), `select device_seq from commands where id = $1`, c["id"]).Scan(&seq)
		if err != nil || seq != c["device_seq"] {
			t.Errorf("device_seq is %d (%v), sent was %v", seq, err, c["device_seq"])
		}
	}
}

// TestManyCommands sends as many commands as one call takes, as a device does that was offline for hours.
func TestManyCommands(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	var calls []object
	for _, o := range s.counterOrders(t, 100) {
		for _, kind := range []string{"start", "ready", "take_payment", "collect", "seen"} {
			calls = append(calls, command(kind, object{"order": o.ID, "device_seq": len(calls)}))
		}
	}
	began := time.Now()
	for i, r := range s.commands(t, board, calls...) {
		if r.Result != "applied" {
			t.Fatalf("command %d: %v", i, r)
		}
	}
	t.Logf("500 commands about 100 orders in %v", time.Since(began).Round(time.Millisecond))
	s.call(t, "POST", "/v1/stores/"+testStore+"/commands", board, object{"commands": append(calls, command("resume", nil))}).
		wantsProblem(t, http.StatusUnprocessableEntity, "invalid", "/commands")
	if r := s.commands(t, board, []object{}...); len(r) != 0 {
		t.Errorf("no commands came to %v", r)
	}
}

func TestCommandFaults(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	id := uuid.NewString()
	for name, x := range map[string]struct {
		command  object
		pointers []string
	}{
		"undo without base_version": {object{"type": "undo", "order": id}, []string{"/base_version"}},
		"cancel without reason":     {object{"type": "cancel", "order": id}, []string{"/reason"}},
		"pause without until":       {object{"type": "pause"}, []string{"/until"}},
		"start of nothing":          {object{"type": "start"}, []string{"/order"}},
		"sold out, but what":        {object{"type": "sold_out"}, []string{"/item"}},
		"both":                      {object{"type": "available", "item": "latte", "option": "oat"}, []string{"/item"}},
		"resume with until":         {object{"type": "resume", "until": "2026-01-01T00:00:00Z"}, []string{"/until"}},
		"unknown type":              {object{"type": "juggle"}, []string{"/type"}},
		"sequence":                  {object{"type": "resume", "device_seq": -1}, []string{"/device_seq"}},
		"beyond all calendars":      {object{"type": "resume", "occurred_at": "9999-12-31T23:59:59-01:00"}, []string{"/occurred_at"}},
		"before all calendars":      {object{"type": "pause", "until": "0000-01-01T00:00:00+01:00"}, []string{"/until"}},
		"several":                   {object{"type": "undo", "order": "7", "id": 7, "x": 1}, []string{"/order", "/id", "/base_version", "/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pointers []string
			for _, pointer := range x.pointers {
				pointers = append(pointers, "/commands/1"+pointer)
			}
			body := object{"commands": []object{command("resume", nil), command("", x.command)}}
			s.call(t, "POST", "/v1/stores/"+testStore+"/commands", board, body).wantsProblem(t, http.StatusUnprocessableEntity, "invalid", pointers...)
		})
	}
	for kind, ref := range map[string]string{"item": "unicorn", "option": "unicorn-milk"} {
		for _, c := range []string{"sold_out", "available"} {
			if r := s.commands(t, board, command(c, object{kind: ref}))[0]; r.String() != "rejected unknown_"+kind {
				t.Errorf("%s of a %s that does not exist: %v", c, kind, r)
			}
		}
	}
}

// TestStoreCommandsByTime is about what two devices say of the store: the later word holds, whichever
// arrives first, and no word is from the future.
func TestStoreCommandsByTime(t *testing.T) {
	t.Parallel()
	noon := time.Now().Add(-time.Hour).UTC()
	at := func(minutes int) object {
		return object{"occurred_at": noon.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)}
	}
	until := object{"until": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	for name, x := range map[string]struct {
		off, on object
		is      func(*shop, *testing.T) bool // on
	}{
		"pause": {command("pause", until), command("resume", nil), func(s *shop, t *testing.T) bool {
			return s.place(t, atCounter()).StatusCode == http.StatusCreated
		}},
		"item": {command("sold_out", object{"item": "latte"}), command("available", object{"item": "latte"}), func(s *shop, t *testing.T) bool {
			return s.sells(t, "latte")
		}},
		"option": {command("sold_out", changed(until, object{"option": "oat"})), command("available", object{"option": "oat"}), func(s *shop, t *testing.T) bool {
			lines := []object{{"item": "latte", "size": "small", "quantity": 1, "options": []object{{"id": "oat", "units": 1}}}}
			return s.call(t, "POST", "/v1/stores/"+testStore+"/quotes", "", object{"fulfilment": "pickup", "lines": lines}).StatusCode == http.StatusOK
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			one, two := s.device(t, testStore), s.device(t, testStore)
			for i, step := range []struct {
				device string
				tap    object
				when   object
				want   string
				on     bool
			}{
				{one, x.off, at(10), "applied", false},
				{two, x.on, at(5), "superseded", false},
				{two, x.off, at(7), "superseded", false},
				{two, x.on, at(12), "applied", true},
				{one, x.off, at(11), "superseded", true},
				{one, x.off, at(600), "applied", false}, // its clock is nine hours fast: it counts as now
				{two, x.on, at(13), "superseded", false},
				{two, x.on, at(599), "applied", true},
			} {
				tap := changed(changed(step.tap, step.when), object{"id": uuid.NewString()})
				if r := s.commands(t, step.device, tap)[0]; r.Result != step.want || r.Order != nil {
					data, _ := json.Marshal(tap)
					t.Fatalf("step %d: %v, want %s: %s", i, r, step.want, data)
				}
				if on := x.is(s, t); on != step.on {
					t.Fatalf("after step %d: on is %v", i, on)
				}
			}
		})
	}
}

func TestSoldOutUntil(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	var back time.Time
	for wait := time.Second; !time.Now().Before(back); wait *= 2 { // longer where a busy machine took too long to look
		back = time.Now().Add(wait).UTC()
		s.commands(t, board, command("sold_out", object{"item": "latte", "until": back.Format(time.RFC3339Nano)}))
		sells, refused := s.sells(t, "latte"), s.place(t, atCounter())
		if time.Now().Before(back) {
			refused.wantsProblem(t, http.StatusUnprocessableEntity, "invalid", "/lines/0/item")
			if sells {
				t.Fatal("sold out, and still on sale")
			}
		}
	}
	for !s.sells(t, "latte") {
		if time.Since(back) > soon {
			t.Fatalf("long after %v it is still sold out", back)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if early := time.Until(back); early > 0 {
		t.Errorf("back %v early", early)
	}
}
