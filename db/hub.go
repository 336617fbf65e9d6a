package db

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// hubRecent is how many orders, at least, the hub remembers the newest version of, so as not to hand out one twice. At
	// 1,000 orders a second, of which each is changed four times, it is 16 s, more than longOverlap.
	hubRecent = 1 << 16
	// hubNewest is how many orders that are still open the hub remembers whole, so that a change or a watcher
	// need not read them again: 3 KB each, and a few seconds of a record day. Of more lines than rememberedLines
	// it remembers none: a customer could fill the memory with them.
	hubNewest       = 1 << 12
	rememberedLines = 10
	// watcherMax bounds the orders that wait for one watcher. A reader slower than that is dropped and
	// comes back for the whole state.
	watcherMax = 1024
)

// ErrSlow says that a watcher fell too far behind: its reader has to start again.
var ErrSlow = errors.New("the watcher fell behind")

// Hub hands every changed order to those who watch it, in this process and, through PostgreSQL, in the
// others. It carries state: the latest version wins, versions may be skipped, none comes twice or late.
// All methods are safe for concurrent use.
type Hub struct {
	pool   *pgxpool.Pool
	origin int32     // names this process in the history, so that it can tell its own changes from the others'
	looked time.Time // when the history was last read; only its reader uses it
	looks  int       // how often it was read; only its reader uses it
	line   string    // PostgreSQL's timeline; only the listener uses it

	mu     sync.Mutex
	orders map[OrderRef]map[*Watcher]bool
	boards map[int32]map[*Watcher]bool
	recent versions
	newest *lru.LRU[OrderRef, *Order]
	told   []OrderRef // changed here, not yet told to the other processes
	closed bool

	commitLost atomic.Int64 // when the answer to a commit of this process was last lost, in Unix milliseconds
}

// NewHub makes a hub. Run connects it to the other processes.
func NewHub(pool *pgxpool.Pool) *Hub {
	newest, err := lru.NewLRU[OrderRef, *Order](hubNewest, nil)
	if err != nil {
		panic(err) // only a size below one is refused
	}
	return &Hub{
		pool:   pool,
		looked: time.Now(),
		origin: rand.Int32(),
		orders: map[OrderRef]map[*Watcher]bool{},
		boards: map[int32]map[*Watcher]bool{},
		recent: versions{map[OrderRef]int32{}, map[OrderRef]int32{}},
		newest: newest,
	}
}

// Watcher gets the newest version of the orders it watches. One goroutine at a time reads it.
type Watcher struct {
	hub   *Hub
	order OrderRef
	board int32 // 0: a single order

	// under hub.mu
	waiting []*Order
	err     error
	notify  func() // nil for nobody
}

// WatchOrder watches one order from now on. Read the order afterwards, not before.
func (h *Hub) WatchOrder(ref OrderRef) *Watcher {
	return watch(h, h.orders, ref, &Watcher{hub: h, order: ref})
}

// WatchBoard watches every order of a store that is or was on its board. Read the board afterwards.
func (h *Hub) WatchBoard(storeID int32) *Watcher {
	return watch(h, h.boards, storeID, &Watcher{hub: h, board: storeID})
}

func watch[K comparable](h *Hub, in map[K]map[*Watcher]bool, key K, w *Watcher) *Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		w.fail(ErrStopping)
		return w
	}
	if in[key] == nil {
		in[key] = map[*Watcher]bool{}
	}
	in[key][w] = true
	return w
}

// Close ends the watch.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.forget()
}

func (w *Watcher) forget() {
	if w.board != 0 {
		drop(w.hub.boards, w.board, w)
	} else {
		drop(w.hub.orders, w.order, w)
	}
}

func drop[K comparable](from map[K]map[*Watcher]bool, key K, w *Watcher) {
	delete(from[key], w)
	if len(from[key]) == 0 {
		delete(from, key)
	}
}

// Notify has a function called from now on whenever Take has something new to say. The hub waits for it: it must only set
// something going.
func (w *Watcher) Notify(notify func()) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.notify = notify
}

// Next waits for changed orders, each in its newest version. The error is ErrSlow, ErrStopping or the
// context's. It takes Notify for itself.
func (w *Watcher) Next(ctx context.Context) ([]*Order, error) {
	ready := make(chan struct{}, 1)
	w.Notify(func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	for {
		if orders, err := w.Take(); orders != nil || err != nil {
			return orders, err
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Take is Next without waiting; it returns nil for nothing new.
func (w *Watcher) Take() ([]*Order, error) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	orders := w.waiting
	w.waiting = nil
	return orders, w.err
}

func (w *Watcher) offer(o *Order) {
	at := slices.IndexFunc(w.waiting, func(waiting *Order) bool { return waiting.ID == o.ID })
	switch {
	case at >= 0:
		w.waiting[at] = o
	case len(w.waiting) >= watcherMax:
		w.fail(ErrSlow)
		w.forget()
		return
	default:
		w.waiting = append(w.waiting, o)
	}
	w.signal()
}

func (w *Watcher) fail(err error) {
	w.err, w.waiting = err, nil
	w.signal()
}

func (w *Watcher) signal() {
	if w.notify != nil {
		w.notify()
	}
}

// Publish hands a changed order to its watchers here and tells the other processes. The order must
// have been committed and must not be written any more.
func (h *Hub) Publish(o *Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deliver(o)
	if len(h.told) < toldMax {
		h.told = append(h.told, o.Ref())
	}
}

// behind tells whether the hub handed out an older version of the order than this one.
func (h *Hub) behind(o *Order) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.recent.of(o.Ref())
	return known > 0 && known < o.Version
}

// deliver hands a version out once.
func (h *Hub) deliver(o *Order) {
	if h.recent.of(o.Ref()) >= o.Version {
		return
	}
	h.recent.set(o.Ref(), o.Version)
	if o.Status.Final() || len(o.Snapshot.Lines) > rememberedLines {
		h.newest.Remove(o.Ref())
	} else {
		h.newest.Add(o.Ref(), o)
	}
	for w := range h.orders[o.Ref()] {
		w.offer(o)
	}
	if watchers := h.boards[o.StoreID]; len(watchers) > 0 && o.wasOnBoard() {
		for w := range watchers {
			w.offer(o)
		}
	}
}

// versions are those of hubRecent orders and of up to as many before them. Maps without pointers cost the garbage
// collector nothing, and two generations make forgetting cheap.
type versions struct{ young, old map[OrderRef]int32 }

// of is the version of an order, 0 if it is not remembered.
func (v *versions) of(ref OrderRef) int {
	if version, ok := v.young[ref]; ok {
		return int(version)
	}
	return int(v.old[ref])
}

func (v *versions) set(ref OrderRef, version int) {
	if len(v.young) >= hubRecent {
		clear(v.old)
		v.young, v.old = v.old, v.young
	}
	v.young[ref] = int32(version)
}

// remembered is the order at that very version, nil if the hub does not have it.
func (h *Hub) remembered(ref OrderRef, version int) *Order {
	if o := h.latest(ref); o != nil && o.Version == version {
		return o
	}
	return nil
}

// latest is the newest version of an open order that the hub has, nil if it has none.
func (h *Hub) latest(ref OrderRef) *Order {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, _ := h.newest.Get(ref)
	return o
}

func (o *Order) wasOnBoard() bool {
	return slices.ContainsFunc(o.Steps, func(s Step) bool { return s.Status.OnBoard() })
}

// watched are those of the orders that somebody here watches and that are news.
func (h *Hub) watched(changes []changeRef) []OrderRef {
	h.mu.Lock()
	defer h.mu.Unlock()
	var news []OrderRef
	for _, c := range changes {
		if len(h.orders[c.OrderRef]) == 0 && len(h.boards[c.StoreID]) == 0 {
			continue
		}
		if h.recent.of(c.OrderRef) < c.Version {
			news = append(news, c.OrderRef)
		}
	}
	return news
}

// forget lets go of all orders, and has those who watch start again.
func (h *Hub) forget() {
	h.mu.Lock()
	clear(h.recent.young)
	clear(h.recent.old)
	h.newest.Purge()
	h.mu.Unlock()
	h.failAll(ErrSlow)
}

// Close ends every watch with ErrStopping.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.failAll(ErrStopping)
}

// failAll ends every watch with an error.
func (h *Hub) failAll(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, watchers := range h.orders {
		for w := range watchers {
			w.fail(err)
		}
	}
	for _, watchers := range h.boards {
		for w := range watchers {
			w.fail(err)
		}
	}
	clear(h.orders)
	clear(h.boards)
}
