package main

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"frenchpress/db"
)

// soon bounds what takes milliseconds on an idle machine.
const soon = 10 * time.Second

func (o order) live() string { return o.path() + "/live" }

const boardLive = "/v1/stores/" + testStore + "/board/live"

// eachTransport runs a test over server-sent events and over WebSockets, each with a shop of its own.
func eachTransport(t *testing.T, test func(t *testing.T, s *shop, socket bool)) {
	for name, socket := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openShop(t), socket)
		})
	}
}

func TestOrderLive(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, s *shop, socket bool) {
		board := s.device(t, testStore)
		o := s.place(t, latte(nil)).order(t)
		w := s.viewer(socket, o.live(), o.Token).open(t)
		if first := w.next(t, soon); first.order.Version > 2 {
			t.Errorf("first comes %s %d", first.order.Status, first.order.Version)
		}
		s.eventually(t, o, soon, is("placed"))
		for _, step := range [][2]string{{"start", "in_progress"}, {"ready", "ready"}} {
			s.do(t, board, step[0], o, "applied")
			w.until(t, soon, is(step[1]))
		}
		s.do(t, board, "collect", o, "applied")
		now := s.call(t, "GET", o.path(), o.Token, nil)
		last := w.next(t, soon)
		if !bytes.Equal(bytes.TrimSpace(last.data), bytes.TrimSpace(now.body)) {
			t.Errorf("the last message is\n%s\nthe order is\n%s", last.data, now.body)
		}
		if w.rest(t, soon) != nil {
			t.Error("something follows the last version")
		}
		if socket && websocket.CloseStatus(w.end) != websocket.StatusNormalClosure || !socket && w.end != nil {
			t.Errorf("the stream ended with %v", w.end)
		}
		late := s.viewer(socket, o.live(), board).open(t) // the store's device may watch it too
		if m := late.next(t, soon); m.order.Status != "picked_up" || late.rest(t, soon) != nil {
			t.Errorf("the stream of a finished order shows %s", m.data)
		}
	})
}

// TestOrderLiveOutlastsRefund wants a stream that ends when nothing can happen any more, and not before.
func TestOrderLiveOutlastsRefund(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, s *shop, socket bool) {
		paid := s.placed(t, latte(nil))
		w := s.viewer(socket, paid.live(), paid.Token).open(t)
		w.next(t, soon)
		s.call(t, "POST", paid.path()+"/cancel", paid.Token, object{}).wants(t, http.StatusOK)
		if last := w.rest(t, 15*time.Second); last == nil || last.Status != "cancelled" || last.Payment.Status != "refunded" || last.Payment.Refunded != paid.Total {
			t.Errorf("the stream ended at %+v", last)
		}
		unpaid := s.place(t, atCounter()).order(t)
		w = s.viewer(socket, unpaid.live(), unpaid.Token).open(t)
		w.next(t, soon)
		s.call(t, "POST", unpaid.path()+"/cancel", unpaid.Token, object{}).wants(t, http.StatusOK)
		if last := w.rest(t, soon); last == nil || last.Status != "cancelled" || last.Payment.Status != "void" {
			t.Errorf("the stream of an unpaid order ended at %+v", last)
		}
	})
}

func TestLastEventID(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	resume := func(id string) *watching { return s.viewer(false, o.live(), o.Token).open(t, "Last-Event-ID: "+id) }
	s.moved(t, board, o, "ready")
	if m := resume("1").next(t, soon); m.order.Version != 3 {
		t.Errorf("after version 1 comes %d", m.order.Version)
	}
	for _, nonsense := range []string{"x", "-1", "99", "1e3", "99999999999999999999"} {
		if m := resume(nonsense).next(t, soon); m.order.Version != 3 {
			t.Errorf("after %q comes %d", nonsense, m.order.Version)
		}
	}
	w := resume("3")
	s.do(t, board, "take_payment", o, "applied")
	if m := w.next(t, soon); m.order.Version != 4 {
		t.Errorf("after version 3 comes %d", m.order.Version)
	}
	s.do(t, board, "collect", o, "applied")
	if last := resume("4").rest(t, soon); last == nil || last.Version != 5 {
		t.Errorf("after version 4 comes %+v", last)
	}
	s.call(t, "GET", o.live(), o.Token, nil, "Last-Event-ID: 5").wants(t, http.StatusNoContent)
}

// TestVersionsGrow moves one order as fast as it goes, while viewers come and go.
func TestVersionsGrow(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	done := make(chan struct{})
	var viewers []*viewer
	var coming sync.WaitGroup
	for _, socket := range transports {
		viewers = append(viewers, s.viewer(socket, o.live(), o.Token), s.viewer(socket, boardLive, board))
	}
	for i, v := range viewers {
		coming.Go(func() { v.comeAndGo(t, o, 3+i) })
	}
	go func() {
		coming.Wait()
		close(done)
	}()
	now := s.moveUntil(t, board, o, done)
	for _, v := range viewers {
		w := v.open(t)
		if m := w.next(t, soon); m.order != nil && m.order.Version != now.Version {
			t.Errorf("%s: the newest version is %d, want %d", v.path, m.order.Version, now.Version)
		}
		if v.version(o) != now.Version {
			t.Errorf("%s: the last version seen is %d of %d", v.path, v.version(o), now.Version)
		}
	}
}

// comeAndGo reads a few messages of each of several streams.
func (v *viewer) comeAndGo(t *testing.T, o order, few int) {
	for range 8 {
		var headers []string
		if last := v.version(o); last > 0 && !v.socket && v.path != boardLive {
			headers = []string{"Last-Event-ID: " + strconv.Itoa(last)}
		}
		w := v.open(t, headers...)
		for range few {
			w.next(t, soon)
		}
		w.stop()
	}
}

// moveUntil starts an order and undoes that, again and again.
func (s *shop) moveUntil(t *testing.T, board string, o order, done chan struct{}) order {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		o = s.moved(t, board, o, "start")
		o = s.do(t, board, "undo", o, "applied", object{"base_version": o.Version}).Order.with(o.Token)
		select {
		case <-done:
			return o
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the viewers are still not done at version %d", o.Version)
		}
	}
}

func TestBoardLive(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, s *shop, socket bool) {
		board := s.device(t, testStore)
		waiting := s.place(t, atCounter()).order(t)
		w := s.viewer(socket, boardLive, board).open(t)
		if m := w.next(t, soon); len(m.board) != 1 || m.board[0].ID != waiting.ID {
			t.Fatalf("first comes %s", m.data)
		}
		wants := func(o order, statuses ...string) {
			t.Helper()
			for _, status := range statuses {
				if m := w.next(t, soon); m.order == nil || m.order.ID != o.ID || m.order.Status != status {
					t.Fatalf("a message is %.300s, want %s of %s", m.data, status, o.ID)
				}
			}
		}
		s.place(t, latte(object{"payment": object{"method": "card", "token": "tok_declined"}}), "Prefer: wait=10").wants(t, http.StatusCreated)
		elsewhere := s.call(t, "POST", "/v1/stores/hayes-valley/orders", "", atCounter(), "Idempotency-Key: x").wants(t, http.StatusCreated).order(t)
		o := s.place(t, atCounter()).order(t)
		wants(o, "placed") // and nothing of the one not paid, nor of the other store's
		for _, step := range [][2]string{{"start", "in_progress"}, {"ready", "ready"}, {"take_payment", "ready"}, {"collect", "picked_up"}} {
			s.do(t, board, step[0], o, "applied")
			wants(o, step[1])
		}
		s.do(t, board, "cancel", waiting, "applied", object{"reason": "closing"})
		wants(waiting, "cancelled")
		paid := s.placed(t, latte(nil))
		wants(paid, "placed")
		s.call(t, "POST", paid.path()+"/cancel", paid.Token, object{}).wants(t, http.StatusOK)
		for status := ""; status != "refunded"; {
			m := w.next(t, soon)
			if m.order == nil || m.order.ID != paid.ID || m.order.Status != "cancelled" {
				t.Fatalf("a message is %.300s", m.data)
			}
			status = m.order.Payment.Status
		}
		if len(w.messages) > 0 || elsewhere.Store == testStore {
			t.Errorf("%d more messages", len(w.messages))
		}
	})
}

// TestHeartbeats waits longer than any proxy on the way would want silence to last.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	var beats sync.WaitGroup
	for _, socket := range transports {
		for path, token := range map[string]string{o.live(): o.Token, boardLive: board} {
			w := s.viewer(socket, path, token).open(t)
			beats.Go(func() {
				for end := time.After(15 * time.Second); ; {
					select {
					case m := <-w.messages:
						if m.beat {
							return
						}
					case <-end:
						t.Errorf("%s, socket %v: no heartbeat within 15 s", path, socket)
						return
					}
				}
			})
			if socket {
				beats.Go(func() {
					if err := w.conn.Ping(t.Context()); err != nil {
						t.Errorf("%s: ping: %v", path, err)
					}
				})
			}
		}
	}
	beats.Wait()
}

// TestRevokedDevice wants the streams of a device that was lost closed within five seconds, and no others.
func TestRevokedDevice(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	lost, kept := s.device(t, testStore), s.device(t, testStore)
	dismissed := s.staff(t, "eve", db.Manager)
	o := s.place(t, atCounter()).order(t)
	var ending, staying []*watching
	for _, socket := range transports {
		ending = append(ending, s.viewer(socket, boardLive, lost).open(t), s.viewer(socket, o.live(), lost).open(t),
			s.viewer(socket, boardLive, dismissed).open(t))
		staying = append(staying, s.viewer(socket, boardLive, kept).open(t), s.viewer(socket, o.live(), o.Token).open(t))
	}
	for _, w := range slices.Concat(ending, staying) {
		w.next(t, soon)
	}
	device, err := db.DeviceByToken(t.Context(), s.api.pool, lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.RevokeDevice(t.Context(), s.api.pool, device.StoreID, device.ID), db.DisableStaff(t.Context(), s.api.pool, "eve")); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	for _, w := range ending {
		if last := w.rest(t, 5*time.Second-time.Since(revoked)); last != nil {
			t.Errorf("%s showed %+v", w.viewer.path, last)
		}
	}
	t.Logf("the streams ended after %v", time.Since(revoked).Round(time.Millisecond))
	for _, token := range []string{lost, dismissed} {
		s.call(t, "GET", boardLive, token, nil).wantsProblem(t, http.StatusUnauthorized, "unauthenticated")
	}
	s.do(t, kept, "start", o, "applied")
	for _, w := range staying {
		w.until(t, soon, is("in_progress"))
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	board := s.device(t, testStore)
	o := s.place(t, atCounter()).order(t)
	var open []*watching
	for _, socket := range transports {
		for range 5 {
			open = append(open, s.viewer(socket, boardLive, board).open(t), s.viewer(socket, o.live(), o.Token).open(t))
		}
	}
	for _, w := range open {
		w.next(t, soon)
	}
	closing, began := make(chan error, 1), time.Now()
	go func() { closing <- s.drain(t.Context()) }()
	for _, w := range open {
		w.rest(t, 3*time.Second)
		if w.viewer.socket && websocket.CloseStatus(w.end) != websocket.StatusGoingAway {
			t.Errorf("%s ended with %v", w.viewer.path, w.end)
		}
	}
	if err := <-closing; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second || s.api.streams.Load() != 0 {
		t.Errorf("after %v there are %d streams", took, s.api.streams.Load())
	}
}
