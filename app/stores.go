package main

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// storeAnswer is a store as the contract shows it.
type storeAnswer struct {
	Slug        string     `json:"slug"`
	Name        string     `json:"name"`
	Address     string     `json:"address"`
	Lat         float64    `json:"lat"`
	Lon         float64    `json:"lon"`
	Timezone    string     `json:"timezone"`
	Currency    string     `json:"currency"`
	OpenNow     bool       `json:"open_now"`
	Hours       db.Hours   `json:"hours"`
	Accepting   bool       `json:"accepting"`
	PausedUntil *time.Time `json:"paused_until"`
	OpensAt     *time.Time `json:"opens_at"`
	WaitMinutes int        `json:"wait_minutes"`
	SlotMinutes int        `json:"slot_minutes"`
	SlotLimit   *int       `json:"slot_limit"`
}

func viewStore(s *db.Store, wait int, now time.Time) storeAnswer {
	v := storeAnswer{
		Slug: s.Slug, Name: s.Name, Address: s.Address, Lat: s.Lat, Lon: s.Lon, Timezone: s.Location.String(), Currency: s.Currency,
		OpenNow: s.Hours.Open(now, s.Location), Hours: s.Hours, WaitMinutes: wait, SlotMinutes: s.SlotMinutes, SlotLimit: s.SlotLimit,
	}
	again := now
	if s.Paused(now) {
		again = s.PausedUntil.UTC()
		v.PausedUntil = &again
	}
	v.Accepting = v.OpenNow && v.PausedUntil == nil
	if v.Accepting {
		return v
	}
	// A year has four digits on the wire: the opening after a pause until the end of 9999 is none.
	if opens, ever := s.Hours.NextOpen(again, s.Location); ever && opens.Year() <= 9999 {
		v.OpensAt = &opens
	}
	return v
}

// storeOf is the store of the address.
func (a *API) storeOf(c echo.Context) (*db.Store, error) {
	store, ok := a.catalog.Store(c.Param("store"))
	if !ok {
		return nil, db.ErrNotFound
	}
	return store, nil
}

// viewStores shows stores with what a new order would wait there.
func (a *API) viewStores(c echo.Context, stores []*db.Store) ([]storeAnswer, error) {
	waits, err := db.WaitMinutes(c.Request().Context(), a.pool, stores)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	views := make([]storeAnswer, len(stores))
	for i, s := range stores {
		views[i] = viewStore(s, waits[s.ID], now)
	}
	return views, nil
}

// storeList is what cursors of stores are of.
const storeList = "stores"

type storesAnswer struct {
	Stores     []storeAnswer `json:"stores"`
	NextCursor string        `json:"next_cursor,omitempty"`
}

// listStores shows a page of stores by slug, or those nearest to a point.
func (a *API) listStores(c echo.Context) error {
	q := readQuery(c)
	search, limit, after := q.text("q", searchMost), q.limit(), q.cursor(storeList)
	lat, lon, near := q.near()
	if near && after != "" {
		q.fault("near has no pages: leave cursor out")
	}
	if q.err != nil {
		return q.err
	}
	var page storesAnswer
	var stores []*db.Store
	if near {
		stores = a.catalog.Near(search, lat, lon, limit)
	} else if stores = a.catalog.Search(search, after, limit+1); len(stores) > limit {
		stores = stores[:limit]
		page.NextCursor = newCursor(storeList, stores[limit-1].Slug)
	}
	var err error
	if page.Stores, err = a.viewStores(c, stores); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, page)
}

// getStore shows one store. Its ETag stands for the settings, which PATCH wants to see again.
func (a *API) getStore(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	return a.answerStore(c, store)
}

func (a *API) answerStore(c echo.Context, store *db.Store) error {
	views, err := a.viewStores(c, []*db.Store{store})
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", versionTag(store.Version))
	return c.JSON(http.StatusOK, views[0])
}

// patchStore changes hours, pause or slots.
func (a *API) patchStore(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	patch, err := readStorePatch(body.fields())
	if err != nil {
		return err
	}
	if err := a.catalog.Refresh(c.Request().Context()); err != nil {
		return err
	}
	store, _ = a.catalog.StoreByID(store.ID)
	if err := ifMatch(c, versionTag(store.Version)); err != nil {
		return err
	}
	if err := a.catalog.Patch(c.Request().Context(), store, patch, by(c)); err != nil {
		return err
	}
	store, _ = a.catalog.StoreByID(store.ID)
	return a.answerStore(c, store)
}

func readStorePatch(f *fields) (db.StorePatch, error) {
	var p db.StorePatch
	if f.has("hours") {
		var hours db.Hours
		for _, day := range f.list("hours", 0, 21) {
			hours = append(hours, db.DayHours{Day: day.text("day", 1, 10), Opens: day.text("opens", 1, 10), Closes: day.text("closes", 1, 10)})
		}
		if hours == nil {
			hours = db.Hours{}
		}
		for _, fault := range hours.Validate().Under("/hours").Apart(*f.faults) { // what could not be read is not judged once more
			f.faults.Add(fault.Pointer, fault.Detail)
		}
		p.Hours = &hours
	}
	if f.has("paused_until") {
		var until *time.Time
		if !f.null("paused_until") {
			until = f.optionalTime("paused_until")
		}
		p.PausedUntil = &until
	}
	p.SlotMinutes = f.optionalInt("slot_minutes", db.MinSlotMinutes, db.MaxSlotMinutes)
	if f.has("slot_limit") {
		var limit *int
		if !f.null("slot_limit") {
			limit = f.optionalInt("slot_limit", 1, 10_000)
		}
		p.SlotLimit = &limit
	}
	return p, f.err()
}

// listSlots shows the slots of a local day that can be asked for, with their free places.
func (a *API) listSlots(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	q := readQuery(c)
	day, given := q.date("date")
	if q.err != nil {
		return q.err
	}
	now := time.Now()
	if !given {
		day = now.In(store.Location)
	}
	answer := struct {
		Slots []db.OpenSlot `json:"slots"`
	}{[]db.OpenSlot{}}
	for _, slot := range store.Hours.Slots(day, store.Location, store.SlotMinutes) {
		if slot.EndsAt.After(now) && !slot.StartsAt.After(now.Add(db.MaxAhead)) {
			answer.Slots = append(answer.Slots, db.OpenSlot{Slot: slot})
		}
	}
	if store.SlotLimit != nil && len(answer.Slots) > 0 {
		from, to := answer.Slots[0].StartsAt, answer.Slots[len(answer.Slots)-1].EndsAt
		taken, err := db.SlotsTaken(c.Request().Context(), a.pool, store.ID, from, to)
		if err != nil {
			return err
		}
		for i := range answer.Slots {
			free := max(0, *store.SlotLimit-taken[answer.Slots[i].StartsAt])
			answer.Slots[i].Free = &free
		}
	}
	return c.JSON(http.StatusOK, answer)
}
