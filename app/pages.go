package main

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	storesOnPage  = 24
	dashboardPath = "/staff/jobs"
	// dashboardPolicy is for pages of River's making, which style themselves.
	dashboardPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)

// view is the store as pages show it.
func (a storeAnswer) view(zone *time.Location) storeView {
	v := storeView{
		Slug: a.Slug, Name: a.Name, Address: a.Address, Zone: zone, Currency: a.Currency,
		Paused: a.PausedUntil != nil, Accepting: a.Accepting, WaitMinutes: a.WaitMinutes,
	}
	if a.OpensAt != nil {
		v.OpensAt = *a.OpensAt
	}
	return v
}

// storeViews are the stores as pages show them.
func (a *API) storeViews(c echo.Context, stores []*db.Store) ([]storeView, error) {
	answers, err := a.viewStores(c, stores)
	if err != nil {
		return nil, err
	}
	views := make([]storeView, len(answers))
	for i, answer := range answers {
		views[i] = answer.view(stores[i].Location)
	}
	return views, nil
}

// searchStores is a page of the stores that the query asks for, and the way through a list of them at path.
func (a *API) searchStores(c echo.Context, path string) ([]storeView, pager, error) {
	q := readQuery(c)
	search, place := q.text("q", searchMost), q.cursor(storeList)
	if q.err != nil {
		return nil, pager{}, q.err
	}
	p := pager{Path: path, Query: search, More: "More stores", After: place != ""}
	stores := a.catalog.Search(search, place, storesOnPage+1)
	if len(stores) > storesOnPage {
		stores = stores[:storesOnPage]
		p.Next = newCursor(storeList, stores[storesOnPage-1].Slug)
	}
	views, err := a.storeViews(c, stores)
	return views, p, err
}

// shopPage is where a customer chooses a store.
func (a *API) shopPage(c echo.Context) error {
	stores, pager, err := a.searchStores(c, "/")
	if err != nil {
		return err
	}
	return writePage(c, http.StatusOK, "stores", storesPage{head{Script: "stores.js"}, pager, stores})
}

// pageStore is the store of a page's address, for pages that do not say how long a new order waits.
func (a *API) pageStore(c echo.Context) (*db.Store, storeView, error) {
	store, err := a.storeOf(c)
	if err != nil {
		return nil, storeView{}, err
	}
	return store, viewStore(store, 0, time.Now()).view(store.Location), nil
}

// storePage is a store's menu, where a customer orders.
func (a *API) storePage(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	views, err := a.storeViews(c, []*db.Store{store})
	if err != nil {
		return err
	}
	now := time.Now()
	menu, err := a.catalog.View(c.Request().Context(), store, now)
	if err != nil {
		return err
	}
	page := menuPage{head: head{Title: store.Name, Script: "menu.js"}, Store: views[0]}
	for _, category := range menu.Resolve().Categories {
		shown := categoryView{Name: category.Name}
		for i := range category.Items {
			shown.Items = append(shown.Items, viewItem(&category.Items[i], store, now))
		}
		page.Categories = append(page.Categories, shown)
	}
	return writePage(c, http.StatusOK, "menu", page)
}

func viewItem(item *db.Item, store *db.Store, now time.Time) itemView {
	v := itemView{
		ID: item.ID, Name: item.Name, Description: item.Description, Image: item.Image,
		Sizes: len(item.Sizes), Currency: store.Currency, Available: item.Available,
	}
	if item.BasePrice != nil {
		v.From = *item.BasePrice
	}
	if len(item.Sizes) > 0 {
		v.From = slices.MinFunc(item.Sizes, func(a, b db.Size) int { return int(a.Price - b.Price) }).Price
	}
	if item.AvailableFrom != nil {
		v.Back = back(*item.AvailableFrom, now, store.Location)
	}
	return v
}

// orderPage is where a customer watches an order. Only the script has the token that shows it, so the page is
// the same whether the order exists or not.
func (a *API) orderPage(c echo.Context) error {
	return a.customerPage(c, "order", "Your order at ")
}

// receiptPage is an order to keep or to print. It too is filled in by its script.
func (a *API) receiptPage(c echo.Context) error {
	return a.customerPage(c, "receipt", "Your receipt from ")
}

func (a *API) customerPage(c echo.Context, name, title string) error {
	store, view, err := a.pageStore(c)
	if err != nil {
		return err
	}
	id, ok := parseUUID(c.Param("id"))
	if !ok {
		return db.ErrNotFound
	}
	return writePage(c, http.StatusOK, name, orderPage{
		head: head{Title: title + store.Name, Script: name + ".js"}, Store: view, Order: id.String(),
	})
}

// boardPage is where baristas work. It shows nothing by itself: the script has the device's token.
func (a *API) boardPage(c echo.Context) error {
	store, view, err := a.pageStore(c)
	if err != nil {
		return err
	}
	return writePage(c, http.StatusOK, "board", boardPage{head: head{Title: "Board of " + store.Name, Script: "board.js"}, Store: view})
}

// staffHome is where staff begin.
func (a *API) staffHome(c echo.Context) error {
	page, err := a.staffPage(c)
	if err != nil {
		return err
	}
	return writePage(c, http.StatusOK, "staff", page)
}

func (a *API) staffPage(c echo.Context) (staffPage, error) {
	stores, pager, err := a.searchStores(c, "/staff")
	if err != nil {
		return staffPage{}, err
	}
	dead, err := a.jobs.DeadLetters(c.Request().Context())
	if err != nil {
		return staffPage{}, err
	}
	failed, err := db.CountFailedRefunds(c.Request().Context(), a.pool, failedCountMost)
	if err != nil {
		return staffPage{}, err
	}
	open, err := db.OpenDifferences(c.Request().Context(), a.pool, differencesShown)
	p := requestOf(c).principal
	return staffPage{
		head: head{Title: "Staff"}, pager: pager, Name: p.name, Admin: p.staff.Role == db.Admin,
		DeadLetters: dead, FailedRefunds: failed, Differences: len(open), Stores: stores,
	}, err
}

// staffOrderPage tells all that happened to one order.
func (a *API) staffOrderPage(c echo.Context) error {
	page, err := a.storyOf(c)
	if err != nil {
		return err
	}
	return writePage(c, http.StatusOK, "story", page)
}

func (a *API) storyOf(c echo.Context) (storyPage, error) {
	store, view, err := a.pageStore(c)
	if err != nil {
		return storyPage{}, err
	}
	ref, err := a.orderRef(c)
	if err != nil {
		return storyPage{}, err
	}
	ctx := c.Request().Context()
	order, err := db.OrderByID(ctx, a.pool, ref)
	if err != nil {
		return storyPage{}, err
	}
	entries, err := db.Story(ctx, a.pool, ref)
	if err != nil {
		return storyPage{}, err
	}
	jobs, err := a.jobs.Story(ctx, order)
	if err != nil {
		return storyPage{}, err
	}
	entries = append(entries, jobs...)
	slices.SortStableFunc(entries, func(a, b db.StoryEntry) int { return a.At.Compare(b.At) })
	page := storyPage{
		head: head{Title: "Order's story"}, Store: view, Order: order.ID.String(), Number: order.Number, Status: string(order.Status),
		Total: money(order.Snapshot.Total, store.Currency), Refund: viewRefund(order, store),
	}
	for _, e := range entries {
		page.Entries = append(page.Entries, storyEntry(e))
	}
	return page, nil
}

// dashboardPage is River's dashboard: queues, jobs, dead letters.
func (a *API) dashboardPage(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy, dashboardPolicy)
	a.dashboard.ServeHTTP(c.Response(), c.Request())
	return nil
}
