package main

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

// maxCommands bounds one call; a device that was offline longer sends several.
const maxCommands = 500

// boardView is everything that stands on a store's board.
type boardView struct {
	Store  string      `json:"store"`
	Orders []*db.Order `json:"orders"`
	AsOf   time.Time   `json:"as_of"`
}

func (a *API) readBoard(c echo.Context, store *db.Store) (*boardView, error) {
	asOf := time.Now().UTC()
	orders, err := db.BoardOrders(c.Request().Context(), a.pool, store.ID)
	if err != nil {
		return nil, err
	}
	return &boardView{store.Slug, append([]*db.Order{}, orders...), asOf}, nil
}

// getBoard shows the store's board.
func (a *API) getBoard(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	board, err := a.readBoard(c, store)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, board)
}

// commandResult is what became of one command.
type commandResult struct {
	ID     uuid.UUID `json:"id"`
	Result string    `json:"result"`
	Order  *db.Order `json:"order,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Holder string    `json:"holder,omitempty"`
}

// postCommands carries out the taps of a board, in order, each on its own.
func (a *API) postCommands(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, commandsLimit)
	if err != nil {
		return err
	}
	fields := body.fields()
	commands := readCommands(fields, by(c))
	if err := fields.err(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	view, err := a.catalog.View(ctx, store, time.Now())
	if err != nil {
		return err
	}
	results := make([]commandResult, len(commands))
	touched := false
	for from := 0; from < len(commands); {
		to := endOfWave(commands, from)
		var wave errgroup.Group
		for i := from; i < to; i++ {
			touched = touched || commands[i].OfStore()
			wave.Go(func() error {
				changed, err := a.orders.Command(ctx, store.ID, commands[i], view.Menu)
				r := changed.Result
				results[i] = commandResult{commands[i].ID, r.Result, changed.Order, r.Reason, r.Holder}
				return err
			})
		}
		if err := wave.Wait(); err != nil {
			return err
		}
		from = to
	}
	if touched {
		if err := a.catalog.Refresh(ctx); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusOK, struct {
		Results []commandResult `json:"results"`
	}{results})
}

// endOfWave is where the commands end that can go together from a place on: no two about one order or
// with one id, and a command about the store alone.
func endOfWave(commands []*db.Command, from int) int {
	seen := map[uuid.UUID]bool{}
	for i := from; i < len(commands); i++ {
		c := commands[i]
		if c.OfStore() {
			return max(i, from+1)
		}
		if seen[c.ID] || seen[c.Order] {
			return i
		}
		seen[c.ID], seen[c.Order] = true, true
	}
	return len(commands)
}

func readCommands(f *fields, by string) []*db.Command {
	var commands []*db.Command
	for _, one := range f.list("commands", 0, maxCommands) {
		c := &db.Command{
			ID: one.uuid("id"), DeviceSeq: one.int64("device_seq", 0, 1<<53), OccurredAt: one.time("occurred_at"), By: by,
			Type: one.oneOf("type", "start", "ready", "collect", "undo", "cancel", "seen", "sold_out", "available", "pause", "resume", "take_payment"),
		}
		switch c.Type {
		case "":
			return nil // what else belongs to it depends on the type
		case "pause":
			until := one.time("until")
			c.Until = &until
		case "resume":
		case "sold_out":
			c.Item, c.Option, c.Until = one.optionalText("item", 1, 63), one.optionalText("option", 1, 63), one.optionalTime("until")
		case "available":
			c.Item, c.Option = one.optionalText("item", 1, 63), one.optionalText("option", 1, 63)
		case "undo":
			c.Order, c.BaseVersion = one.uuid("order"), one.int("base_version", 1, 1<<30)
		case "cancel":
			c.Order, c.Reason = one.uuid("order"), one.text("reason", 1, 200)
		default:
			c.Order = one.uuid("order")
		}
		if needsOne := c.Type == "sold_out" || c.Type == "available"; needsOne && (c.Item == "") == (c.Option == "") {
			one.fault("item", "name either an item or an option")
		}
		if c.Type != "undo" && !c.OfStore() && one.has("base_version") {
			c.BaseVersion = one.int("base_version", 1, 1<<30)
		}
		c.Hash = commandHash(c)
		commands = append(commands, c)
	}
	return commands
}

// commandHash stands for what a command says, however it was written down.
func commandHash(c *db.Command) []byte {
	content, err := json.Marshal([]any{c.DeviceSeq, c.Type, c.Order, c.BaseVersion, c.Reason, c.Item, c.Option, c.Until, c.OccurredAt})
	if err != nil {
		panic(err) // strings, numbers and times always marshal
	}
	sum := sha256.Sum256(content)
	return sum[:]
}
