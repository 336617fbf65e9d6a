package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

const (
	// catalogEvery is how often changes of stores and menus are looked for: together with the read
	// itself well within the second that the contract allows.
	catalogEvery = 500 * time.Millisecond
	// catalogOverlap is how far back a look goes at least: rows are stamped before they are committed.
	catalogOverlap = 10 * time.Second
	// catalogPatience bounds a load.
	catalogPatience = 5 * time.Second
	// catalogMenus and catalogRendered bound the parsed menus and the rendered ones in memory; a demo
	// menu takes about 30 KB parsed and 15 KB rendered.
	catalogMenus    = 512
	catalogRendered = 2048
)

// Store is one store as it was at a version of its settings. It is never written after it was read.
type Store struct {
	ID             int32
	Slug           string
	Name           string
	Address        string
	Lat, Lon       float64
	Location       *time.Location
	Currency       string
	Hours          Hours
	PausedUntil    *time.Time
	SlotMinutes    int
	SlotLimit      *int
	PrepMinutes    int
	MenuID         int32
	OwnMenu        bool
	Overlay        *Overlay // nil: the menu as it is
	Version        int
	OverlayVersion int

	words string // what is searched: slug, name and address in small letters
}

// Paused tells whether the store has stopped taking orders at a moment.
func (s *Store) Paused(at time.Time) bool { return s.PausedUntil != nil && s.PausedUntil.After(at) }

// Catalog holds every store, and the menus in use, in memory. It is at most a second behind the
// database. All methods are safe for concurrent use.
type Catalog struct {
	pool *pgxpool.Pool

	mu       sync.RWMutex
	bySlug   map[string]*Store
	byID     map[int32]*Store
	sorted   []*Store        // by slug
	versions map[int32]int32 // the newest version of each menu

	loads      singleflight.Group
	loading    sync.Mutex // one load of stores at a time
	from       time.Time  // of the next load, by the clock of the database, which stamps changes; under loading
	parsed     *lru.Cache[menuKey, *Menu]
	rendered   *lru.Cache[renderKey, *RenderedMenu]
	hours      map[string]Hours          // equal hours are kept once; only load writes here
	places     map[string]*time.Location // likewise
	currencies map[string]string         // likewise
}

type menuKey struct{ MenuID, Version int32 }

// prefix begins the version that customers see; the store's overlay ends it.
func (k menuKey) prefix() string { return fmt.Sprintf("%d.%d.", k.MenuID, k.Version) }

// OpenCatalog reads all stores.
func OpenCatalog(ctx context.Context, pool *pgxpool.Pool) (*Catalog, error) {
	parsed, err := lru.New[menuKey, *Menu](catalogMenus)
	if err != nil {
		return nil, err
	}
	rendered, err := lru.New[renderKey, *RenderedMenu](catalogRendered)
	if err != nil {
		return nil, err
	}
	c := &Catalog{
		pool: pool, bySlug: map[string]*Store{}, byID: map[int32]*Store{}, versions: map[int32]int32{},
		parsed: parsed, rendered: rendered, hours: map[string]Hours{}, places: map[string]*time.Location{}, currencies: map[string]string{},
	}
	return c, c.load(ctx)
}

// Run keeps the catalog fresh until ctx ends.
func (c *Catalog) Run(ctx context.Context) error {
	return every(ctx, catalogEvery, "reading stores and menus", c.Refresh)
}

// Refresh takes in what changed lately, by whichever process; at least all that was committed before the call.
func (c *Catalog) Refresh(ctx context.Context) error {
	_, err, _ := c.loads.Do("refresh", func() (any, error) {
		c.loading.Lock()
		defer c.loading.Unlock()
		c.loads.Forget("refresh") // whoever calls from now on may have written what this load no longer sees
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), catalogPatience)
		defer cancel()
		return nil, c.load(ctx)
	})
	return err
}

// load takes in menus and stores changed since the load before, all as they were at one moment: an overlay says nothing of
// another version of the menu.
func (c *Catalog) load(ctx context.Context) error {
	var next time.Time
	// What somebody has begun to write, and this load does not see yet, is for the next one, however long he takes.
	if err := c.pool.QueryRow(ctx, `
    select least(now() - $1::interval, min(xact_start))
    from pg_stat_activity
    where datname = current_database() and backend_xid is not null`, catalogOverlap).Scan(&next); err != nil {
		return err
	}
	var newest []menuKey
	var stores []*Store
	batch := new(pgx.Batch)
	batch.Queue(`
    select menu_id, max(version)
    from menus
    where created_at >= $1
    group by menu_id`, c.from).Query(func(rows pgx.Rows) (err error) {
		newest, err = pgx.CollectRows(rows, pgx.RowToStructByPos[menuKey])
		return err
	})
	batch.Queue(changedStores, c.from).Query(func(rows pgx.Rows) (err error) {
		stores, err = pgx.CollectRows(rows, c.scanStore)
		return err
	})
	err := pgx.BeginTxFunc(ctx, c.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return err
	}
	c.from = next
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, menu := range newest {
		c.versions[menu.MenuID] = max(menu.Version, c.versions[menu.MenuID])
	}
	c.take(stores)
	return nil
}

func (c *Catalog) take(stores []*Store) {
	added := false
	for _, s := range stores {
		was := c.byID[s.ID]
		if was != nil && was.Version > s.Version {
			continue
		}
		added = added || was == nil
		c.byID[s.ID], c.bySlug[s.Slug] = s, s
	}
	if added {
		c.sorted = make([]*Store, 0, len(c.bySlug))
		for _, s := range c.bySlug {
			c.sorted = append(c.sorted, s)
		}
		slices.SortFunc(c.sorted, func(a, b *Store) int { return strings.Compare(a.Slug, b.Slug) })
		return
	}
	for _, s := range stores {
		if at, ok := slices.BinarySearchFunc(c.sorted, s.Slug, func(s *Store, slug string) int { return strings.Compare(s.Slug, slug) }); ok {
			c.sorted[at] = c.bySlug[s.Slug]
		}
	}
}

const changedStores = `
    select s.store_id, s.slug, s.name, s.address, s.lat, s.lon, s.timezone, s.currency, t.hours, t.paused_until,
           t.slot_minutes, t.slot_limit, t.prep_minutes, t.menu_id, t.own_menu, t.version, t.overlay_version, t.prices,
           (select json_object_agg(a.kind || ':' || a.ref, a.until)
            from availability a
            where a.store_id = s.store_id and not a.available and (a.until is null or a.until > now()))
    from stores s
    join store_settings t on t.store_id = s.store_id
    where t.updated_at >= $1`

func (c *Catalog) scanStore(row pgx.CollectableRow) (*Store, error) {
	s := new(Store)
	var timezone, hours string
	var overlay Overlay
	err := row.Scan(&s.ID, &s.Slug, &s.Name, &s.Address, &s.Lat, &s.Lon, &timezone, &s.Currency, &hours, &s.PausedUntil,
		&s.SlotMinutes, &s.SlotLimit, &s.PrepMinutes, &s.MenuID, &s.OwnMenu, &s.Version, &s.OverlayVersion, &overlay.Prices,
		&overlay.SoldOut)
	if err != nil {
		return nil, err
	}
	s.compact()
	if _, known := c.currencies[s.Currency]; !known {
		c.currencies[s.Currency] = s.Currency
	}
	s.Currency = c.currencies[s.Currency]
	if len(overlay.Prices)+len(overlay.SoldOut) > 0 {
		s.Overlay = &overlay
	}
	if s.Location = c.places[timezone]; s.Location == nil {
		if s.Location, err = time.LoadLocation(timezone); err != nil {
			return nil, fmt.Errorf("store %s: %w", s.Slug, err)
		}
		c.places[timezone] = s.Location
	}
	known, ok := c.hours[hours]
	if !ok {
		if err := json.Unmarshal([]byte(hours), &known); err != nil {
			return nil, fmt.Errorf("hours of store %s: %w", s.Slug, err)
		}
		c.hours[hours] = known
	}
	s.Hours = known
	return s, nil
}

// compact puts what the store is called and found by into one piece of memory: a chain has tens of thousands, and the garbage collector
// looks at every piece each time.
func (s *Store) compact() {
	text := s.Slug + s.Name + s.Address + strings.ToLower(s.Slug+"\n"+s.Name+"\n"+s.Address)
	name := len(s.Slug)
	address := name + len(s.Name)
	words := address + len(s.Address)
	s.Slug, s.Name, s.Address, s.words = text[:name], text[name:address], text[address:words], text[words:]
}

// Store finds a store by its slug.
func (c *Catalog) Store(slug string) (*Store, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.bySlug[slug]
	return s, ok
}

// StoreByID finds a store by its id.
func (c *Catalog) StoreByID(id int32) (*Store, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.byID[id]
	return s, ok
}

// View is the store's menu at a moment.
func (c *Catalog) View(ctx context.Context, s *Store, at time.Time) (View, error) {
	key, err := c.newest(s)
	if err != nil {
		return View{}, err
	}
	menu, ok := c.parsed.Get(key)
	if !ok {
		if menu, err = c.loadMenu(ctx, key); err != nil {
			return View{}, err
		}
	}
	version := key.prefix() + "0"
	if s.Overlay != nil {
		version = key.prefix() + strconv.Itoa(s.OverlayVersion)
	}
	return View{Menu: menu, Overlay: s.Overlay, At: at, Version: version}, nil
}

func (c *Catalog) newest(s *Store) (menuKey, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	version := c.versions[s.MenuID]
	if version == 0 {
		return menuKey{}, fmt.Errorf("menu %d of store %s is not there", s.MenuID, s.Slug)
	}
	return menuKey{s.MenuID, version}, nil
}

// loadMenu reads and parses a menu once, however many ask for it.
func (c *Catalog) loadMenu(ctx context.Context, key menuKey) (*Menu, error) {
	menu, err, _ := c.loads.Do(fmt.Sprint(key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), catalogPatience)
		defer cancel()
		var content []byte
		err := c.pool.QueryRow(ctx, `
    select content
    from menus
    where menu_id = $1 and version = $2`, key.MenuID, key.Version).Scan(&content)
		if err != nil {
			return nil, fmt.Errorf("reading menu %d version %d: %w", key.MenuID, key.Version, err)
		}
		menu, err := ParseMenu(content)
		if err != nil { // not as Faults, which are about what a user sent
			return nil, fmt.Errorf("menu %d version %d: %s", key.MenuID, key.Version, err.Error())
		}
		c.parsed.Add(key, menu)
		return menu, nil
	})
	if err != nil {
		return nil, err
	}
	return menu.(*Menu), nil
}
