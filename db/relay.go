package db

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// relayEvery is how often changes are told to the other processes: one NOTIFY for all of them, in a
	// transaction of its own, because a NOTIFY inside an order's holds a lock of the whole database
	// through its commit.
	relayEvery = 10 * time.Millisecond
	// toldMax bounds what waits to be told; the history reader of the others finds the rest.
	toldMax = 8192
	// toldPerPayload keeps a payload below PostgreSQL's 8,000 bytes: a reference takes 40.
	toldPerPayload = 190

	// historyEvery and historyOverlap govern the reader that finds what no notification told. Rows are stamped before they
	// are committed, by another process's clock: the overlap covers what that takes, but for a flush that hangs, an order that
	// waits for one, and clocks that differ by seconds. Every longLook-th look goes back further for those.
	historyEvery   = time.Second
	historyOverlap = 3 * time.Second
	longLook       = 5
	// longOverlap also covers a flush that lost its commit's answer only after flushTimeout. For so long its process
	// reads its own history too, for nobody here was told of what that commit did.
	longOverlap = flushTimeout + longLook*historyEvery
	// historyTimeout is for an index and some 60,000 rows of it.
	historyTimeout = 3 * time.Second
	// historyLongest bounds how far back it looks after an interruption.
	historyLongest = time.Minute

	ordersChannel = "frenchpress_orders"
	reconnectWait = 250 * time.Millisecond
)

// changeRef is a version of an order.
type changeRef struct {
	OrderRef
	Version int
}

// Run connects the hub to the other processes on the database until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return every(ctx, relayEvery, "telling other processes of orders", h.tell) })
	g.Go(func() error { return every(ctx, historyEvery, "reading the history of other processes", h.readHistory) })
	listening := &trouble{what: "listening to other processes"}
	g.Go(func() error {
		return listening.every(ctx, reconnectWait, func(ctx context.Context) error { return h.listen(ctx, listening) })
	})
	return g.Wait()
}

// trouble tells of failures at something, the same one once, and of their end. One goroutine has it.
type trouble struct{ what, failing string }

func (t *trouble) note(err error) {
	switch {
	case err != nil && err.Error() != t.failing:
		t.failing = err.Error()
		slog.Warn("failing, will be tried again", "what", t.what, "error", err)
	case err == nil && t.failing != "":
		t.failing = ""
		slog.Info("works again", "what", t.what)
	}
}

// every calls fn at once, and again and again with a pause, until ctx ends.
func every(ctx context.Context, pause time.Duration, what string, fn func(context.Context) error) error {
	return (&trouble{what: what}).every(ctx, pause, fn)
}

func (t *trouble) every(ctx context.Context, pause time.Duration, fn func(context.Context) error) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		err := fn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		t.note(err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tell passes the orders changed here on to the other processes.
func (h *Hub) tell(ctx context.Context) error {
	h.mu.Lock()
	told := h.told
	h.told = nil
	h.mu.Unlock()
	if len(told) == 0 {
		return nil
	}
	payloads := make([]string, 0, len(told)/toldPerPayload+1)
	for refs := range slices.Chunk(told, toldPerPayload) {
		payloads = append(payloads, encodeRefs(h.origin, refs))
	}
	ctx, cancel := context.WithTimeout(ctx, historyEvery)
	defer cancel()
	_, err := h.pool.Exec(ctx, `select pg_notify($1, payload) from unnest($2::text[]) as payload`, ordersChannel, payloads)
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(told, h.told...)[:min(len(told)+len(h.told), toldMax)]
	}
	return err
}

// listen hears what the other processes tell, on a connection of its own, until it breaks.
func (h *Hub) listen(ctx context.Context, t *trouble) error {
	conn, err := pgx.ConnectConfig(ctx, h.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := h.follow(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "listen "+ordersChannel); err != nil {
		return err
	}
	t.note(nil)
	for {
		told, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		refs, foreign := decodeRefs(h.origin, told.Payload)
		if !foreign {
			continue
		}
		changes := make([]changeRef, len(refs))
		for i, ref := range refs {
			changes[i] = changeRef{ref, math.MaxInt}
		}
		if err := h.fetch(ctx, changes); err != nil {
			return err
		}
	}
}

// follow makes sure that what the hub remembers is this server's past: one that took the place of another may lack the last
// commits of that, and count the same versions anew.
func (h *Hub) follow(ctx context.Context, conn *pgx.Conn) error {
	var line string
	if err := conn.QueryRow(ctx, `select left(pg_walfile_name(pg_current_wal_lsn()), 8)`).Scan(&line); err != nil {
		return err
	}
	if h.line != "" && line != h.line {
		slog.Warn("another server has taken over; what was remembered of orders is read again", "timeline", line, "before", h.line)
		h.forget()
	}
	h.line = line
	return nil
}

// readHistory finds what the other processes changed since the last look, told or not. After a long time
// without the database all watchers start again instead.
func (h *Hub) readHistory(ctx context.Context) error {
	next := time.Now()
	if next.Sub(h.looked) > historyLongest {
		h.failAll(ErrSlow)
		h.looked = next
	}
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	since, lost := h.looked.Add(-historyOverlap), next.UnixMilli()-h.commitLost.Load() < longOverlap.Milliseconds()
	if lost || h.looks%longLook == 0 {
		since = h.looked.Add(-longOverlap)
	}
	rows, err := h.pool.Query(ctx, `
    select store_id, order_id, max(version)
    from order_history
    where at > $1 and (origin <> $2 or $3)
    group by store_id, order_id`, since, h.origin, lost)
	if err != nil {
		return err
	}
	changes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[changeRef])
	if err != nil {
		return err
	}
	if err := h.fetch(ctx, changes); err != nil {
		return err
	}
	h.looked = next
	h.looks++
	return nil
}

// fetch reads the orders that somebody here watches and hands them on.
func (h *Hub) fetch(ctx context.Context, changes []changeRef) error {
	news := h.watched(changes)
	if len(news) == 0 {
		return nil
	}
	orders, err := OrdersByID(ctx, h.pool, news)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range orders {
		h.deliver(o)
	}
	return nil
}

// encodeRefs writes the origin and, for each order, its store and id in hexadecimal.
func encodeRefs(origin int32, refs []OrderRef) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(int(origin)))
	for _, ref := range refs {
		var raw [20]byte
		binary.BigEndian.PutUint32(raw[:4], uint32(ref.StoreID))
		copy(raw[4:], ref.ID[:])
		b.WriteByte(' ')
		b.WriteString(hex.EncodeToString(raw[:]))
	}
	return b.String()
}

// decodeRefs reads a payload; foreign is false for what this process told itself and for what it
// cannot read.
func decodeRefs(own int32, payload string) (refs []OrderRef, foreign bool) {
	fields := strings.Fields(payload)
	if len(fields) == 0 || fields[0] == strconv.Itoa(int(own)) {
		return nil, false
	}
	for _, field := range fields[1:] {
		raw, err := hex.DecodeString(field)
		if err != nil || len(raw) != 20 {
			return nil, false
		}
		refs = append(refs, OrderRef{int32(binary.BigEndian.Uint32(raw[:4])), uuid.UUID(raw[4:])})
	}
	return refs, true
}
