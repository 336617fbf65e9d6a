package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
	ID    uuid.UUID
	Order *db.Order // nil where there is none
	db.CommandResult
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
	for from := 0; from < len(commands); {
		chains, to := chainCommands(commands, from)
		var all errgroup.Group
		for _, chain := range chains {
			all.Go(func() error {
				for _, i := range chain {
					changed, err := a.orders.Command(ctx, store.ID, commands[i], view.Menu)
					if err != nil {
						return err
					}
					results[i] = commandResult{commands[i].ID, changed.Order, changed.Result}
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
		from = to
	}
	if slices.ContainsFunc(commands, (*db.Command).OfStore) {
		if err := a.catalog.Refresh(ctx); err != nil {
			return err
		}
	}
	return c.JSONBlob(http.StatusOK, renderResults(results))
}

// renderResults takes each order as it was rendered for its watchers.
func renderResults(results []commandResult) []byte {
	size := 64
	for _, r := range results {
		if size += 160; r.Order != nil {
			size += len(r.Order.JSON())
		}
	}
	answer := append(make([]byte, 0, size), `{"results":[`...)
	for i, r := range results {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = fmt.Appendf(answer, `{"id":"%s","result":%q`, r.ID, r.Result)
		if r.Order != nil {
			answer = append(append(answer, `,"order":`...), r.Order.JSON()...)
		}
		for _, word := range [][2]string{{"reason", r.Reason}, {"holder", r.Holder}} {
			if word[1] != "" {
				quoted, err := json.Marshal(word[1])
				if err != nil {
					panic(err) // strings always marshal
				}
				answer = fmt.Appendf(answer, `,"%s":%s`, word[0], quoted)
			}
		}
		answer = append(answer, '}')
	}
	return append(answer, "]}\n"...)
}

// chainCommands sorts the commands from a place on into chains, one for each order and one for the store: within a
// chain they keep their order, and the chains have nothing to do with each other, so they can go side by side. It
// ends before a command whose id another chain has, because the first of the two must win.
func chainCommands(commands []*db.Command, from int) (chains map[uuid.UUID][]int, to int) {
	chains = map[uuid.UUID][]int{}
	chainOf := map[uuid.UUID]uuid.UUID{}
	for i := from; i < len(commands); i++ {
		c := commands[i] // of the store: Order is the nil UUID
		if other, taken := chainOf[c.ID]; taken && other != c.Order {
			return chains, i
		}
		chainOf[c.ID] = c.Order
		chains[c.Order] = append(chains[c.Order], i)
	}
	return chains, len(commands)
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
			one.skip() // what else belongs to it depends on the type
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
		if needsOne := c.Type == "sold_out" || c.Type == "available"; needsOne && one.has("item") == one.has("option") {
			one.fault("item", "name either an item or an option")
		}
		if c.Type != "undo" && !c.OfStore() && one.has("base_version") { // it decides nothing, but is a part of what was said
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
