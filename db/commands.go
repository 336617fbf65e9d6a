package db

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Command is one tap on a board, made online or offline.
type Command struct {
	ID          uuid.UUID
	DeviceSeq   int64
	Type        string
	Order       uuid.UUID  // of an order command
	BaseVersion int        // undo
	Reason      string     // cancel
	Item        string     // sold_out, available
	Option      string     // sold_out, available
	Until       *time.Time // sold_out (nil: until further notice), pause
	OccurredAt  time.Time
	Hash        []byte // of the whole content: the same id with another is refused
	By          string // who sent it, as the history shows it
}

// OfStore tells a command about the store itself from one about an order.
func (c *Command) OfStore() bool {
	switch c.Type {
	case "sold_out", "available", "pause", "resume":
		return true
	}
	return false
}

// CommandResult is the first and only answer to a command.
type CommandResult struct {
	Result string // applied, noop, superseded, conflict, rejected
	Reason string
	Holder string // start on an order in progress: the device that has it
}

var (
	applied    = CommandResult{Result: "applied"}
	noop       = CommandResult{Result: "noop"}
	superseded = CommandResult{Result: "superseded"}
)

func rejected(reason string) CommandResult { return CommandResult{Result: "rejected", Reason: reason} }

// apply decides by what the command meets, not by any clock, and moves the order accordingly.
func (c *Command) apply(o *Order) CommandResult {
	now := time.Now()
	switch {
	case o.Status.Unpaid() && c.Type != "cancel":
		return rejected("not_paid")
	case o.Status == Cancelled && c.Type == "cancel":
		return noop
	case o.Status == Cancelled || o.Status == Expired || o.Status == Abandoned:
		return CommandResult{Result: "conflict", Reason: string(o.Status)}
	}
	switch c.Type {
	case "start":
		return c.start(o, now)
	case "ready":
		return c.ready(o, now)
	case "collect":
		return c.collect(o, now)
	case "undo":
		return c.undo(o, now)
	case "cancel":
		return c.cancel(o, now)
	case "take_payment":
		return c.takePayment(o, now)
	case "seen":
		if o.Seen {
			return noop
		}
		o.Seen = true
		return applied
	}
	return rejected("unknown_type")
}

func (c *Command) start(o *Order, now time.Time) CommandResult {
	switch o.Status {
	case StatusPlaced:
		o.Holder = c.By
		o.move(InProgress, o.Payment.Status, c.By, "", now)
		return applied
	case InProgress:
		return CommandResult{Result: "noop", Holder: o.Holder}
	default:
		return superseded
	}
}

func (c *Command) ready(o *Order, now time.Time) CommandResult {
	switch o.Status {
	case StatusPlaced:
		o.Holder = c.By
		o.move(InProgress, o.Payment.Status, c.By, "", now)
		fallthrough
	case InProgress:
		o.move(Ready, o.Payment.Status, c.By, "", now)
		return applied
	default:
		return noop
	}
}

func (c *Command) collect(o *Order, now time.Time) CommandResult {
	switch {
	case o.Status == PickedUp:
		return noop
	case o.Status != Ready:
		return rejected("not_ready")
	case o.Payment.Status == Due:
		return rejected("unpaid")
	}
	o.move(PickedUp, o.Payment.Status, c.By, "", now)
	return applied
}

func (c *Command) undo(o *Order, now time.Time) CommandResult {
	switch {
	case o.Status == PickedUp:
		return rejected("picked_up")
	case c.BaseVersion < o.Version:
		return superseded
	case c.BaseVersion > o.Version:
		return rejected("unknown_version")
	case o.Status == Ready:
		o.move(InProgress, o.Payment.Status, c.By, "", now)
	case o.Status == InProgress:
		o.Holder = ""
		o.move(StatusPlaced, o.Payment.Status, c.By, "", now)
	default:
		return rejected("nothing_to_undo")
	}
	return applied
}

func (c *Command) cancel(o *Order, now time.Time) CommandResult {
	if o.Status == Ready || o.Status == PickedUp {
		return rejected("already_made")
	}
	o.finish(Cancelled, c.By, c.Reason, now)
	return applied
}

func (c *Command) takePayment(o *Order, now time.Time) CommandResult {
	switch {
	case o.Payment.Method != "counter":
		return rejected("not_counter")
	case o.Payment.Status != Due:
		return noop
	}
	o.Payment.Captured = o.Snapshot.Total
	o.move(o.Status, Captured, c.By, "", now)
	return applied
}

// queueReplays finds the commands that were answered before.
func queueReplays(batch *pgx.Batch, work []*changing) {
	var stores []int32
	var ids []uuid.UUID
	for _, c := range work {
		if c.Command != nil {
			stores, ids = append(stores, c.Ref.StoreID), append(ids, c.Command.ID)
		}
	}
	if ids == nil {
		return
	}
	batch.Queue(readAnswers, stores, ids).Query(func(rows pgx.Rows) error {
		answers, err := collectAnswers(rows)
		if err != nil {
			return err
		}
		for _, c := range work {
			if c.Command == nil {
				continue
			}
			if answer, ok := answers[OrderRef{c.Ref.StoreID, c.Command.ID}]; ok {
				c.replay, c.result = true, answer.to(c.Command)
			}
		}
		return nil
	})
}

type answeredCommand struct {
	StoreID int32
	ID      uuid.UUID
	Hash    []byte
	CommandResult
}

// to is the answer to a command sent again: the first result, or a refusal of other content.
func (a answeredCommand) to(again *Command) CommandResult {
	if string(a.Hash) != string(again.Hash) {
		return rejected("command_reused")
	}
	return a.CommandResult
}

const readAnswers = `
    select c.store_id, c.id, c.content_hash, c.result, coalesce(c.reason, ''), coalesce(c.holder, '')
    from unnest($1::int4[], $2::uuid[]) as want (store_id, id)
    join commands c on c.store_id = want.store_id and c.id = want.id`

func collectAnswers(rows pgx.Rows) (map[OrderRef]answeredCommand, error) {
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[answeredCommand])
	answers := make(map[OrderRef]answeredCommand, len(found))
	for _, a := range found {
		answers[OrderRef{a.StoreID, a.ID}] = a
	}
	return answers, err
}

// queueCommands keeps every first result, in key order. Another process that answered the same id in
// between makes the whole group look again.
func queueCommands(batch *pgx.Batch, work []*changing) {
	rows := new(commandRows)
	var seenStores []int32
	var seen []uuid.UUID
	for _, c := range work {
		if c.Command == nil || c.replay {
			continue
		}
		rows.add(c.Ref.StoreID, c.Command, c.result)
		if c.Command.Type == "seen" && c.result == applied {
			seenStores, seen = append(seenStores, c.Ref.StoreID), append(seen, c.Ref.ID)
		}
	}
	if seen != nil {
		batch.Queue(`
    update orders o
    set seen_at = now()
    from unnest($1::int4[], $2::uuid[]) as v (store_id, id)
    where o.store_id = v.store_id and o.id = v.id`, seenStores, seen)
	}
	rows.queue(batch)
}

type commandRows struct {
	stores                    []int32
	ids                       []uuid.UUID
	orders                    []uuid.NullUUID
	by, types                 []string
	seqs                      []int64
	hashes                    [][]byte
	results, reasons, holders []string
	occurred                  []time.Time
}

func (r *commandRows) add(storeID int32, c *Command, result CommandResult) {
	order := uuid.NullUUID{UUID: c.Order, Valid: !c.OfStore()}
	r.stores, r.ids, r.orders = append(r.stores, storeID), append(r.ids, c.ID), append(r.orders, order)
	r.by, r.types, r.seqs = append(r.by, c.By), append(r.types, c.Type), append(r.seqs, c.DeviceSeq)
	r.hashes, r.occurred = append(r.hashes, c.Hash), append(r.occurred, c.OccurredAt)
	r.results, r.reasons, r.holders = append(r.results, result.Result), append(r.reasons, result.Reason), append(r.holders, result.Holder)
}

func (r *commandRows) queue(batch *pgx.Batch) {
	if len(r.ids) == 0 {
		return
	}
	batch.Queue(`
    insert into commands (store_id, id, by, device_seq, type, content_hash, order_id, result, reason, holder, occurred_at)
    select store_id, id, by, device_seq, type, content_hash, order_id, result, nullif(reason, ''), nullif(holder, ''), occurred_at
    from unnest($1::int4[], $2::uuid[], $3::text[], $4::int8[], $5::text[], $6::bytea[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::timestamptz[])
         as v (store_id, id, by, device_seq, type, content_hash, order_id, result, reason, holder, occurred_at)
    order by store_id, id
    on conflict do nothing`,
		r.stores, r.ids, r.by, r.seqs, r.types, r.hashes, r.orders, r.results, r.reasons, r.holders, r.occurred).Exec(func(tag pgconn.CommandTag) error {
		if int(tag.RowsAffected()) != len(r.ids) {
			return fmt.Errorf("a command was answered elsewhere: %w", ErrRace)
		}
		return nil
	})
}
