package db

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// RenderedMenu is a store's menu as bytes, with the strong entity tag that stands for exactly them.
type RenderedMenu struct {
	Body  []byte
	ETag  string
	until time.Time // when time alone changes it; zero: never
}

type renderKey struct {
	menuKey
	storeID int32 // 0 where the store changes nothing: then all stores share the bytes
	overlay int
}

// Rendered is the store's menu now.
func (c *Catalog) Rendered(ctx context.Context, s *Store, now time.Time) (*RenderedMenu, error) {
	newest, err := c.newest(s)
	if err != nil {
		return nil, err
	}
	key := renderKey{menuKey: newest}
	if s.Overlay != nil {
		key.storeID, key.overlay = s.ID, s.OverlayVersion
	}
	if r, ok := c.rendered.Get(key); ok && (r.until.IsZero() || now.Before(r.until)) {
		return r, nil
	}
	view, err := c.View(ctx, s, now)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(view.Resolve())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	r := &RenderedMenu{Body: body, ETag: `"` + hex.EncodeToString(sum[:12]) + `"`, until: view.NextChange()}
	c.rendered.Add(key, r)
	return r, nil
}

// PutMenu replaces a store's menu if it still is the one that was seen, else it returns ErrPrecondition.
// Prices and availability become the store's overlay on its chain's menu; with any other difference the
// store leaves the chain's menu and gets one of its own.
func (c *Catalog) PutMenu(ctx context.Context, s *Store, seen View, put *Menu, by string) error {
	base := seen.Menu
	overlay, ok := MenuDiff(base, put, seen.At)
	if !ok {
		base = put.withoutOutages()
		overlay, _ = MenuDiff(base, put, seen.At) // which can say all that was left out
	}
	err := pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if err := lockMenu(ctx, tx, s, seen); err != nil {
			return err
		}
		menuID := s.MenuID
		if base != seen.Menu {
			var err error
			if menuID, err = insertMenu(ctx, tx, s, base, by); err != nil {
				return err
			}
		}
		if err := writeOverlay(ctx, tx, s, menuID, base != seen.Menu, overlay); err != nil {
			return err
		}
		return Audit(ctx, tx, s.ID, by, "menu_put", map[string]any{"menu_id": menuID, "own": base != seen.Menu})
	})
	if err != nil {
		return err
	}
	return c.Refresh(ctx)
}

// lockMenu makes sure that nobody changed the menu since it was seen, nor does until the commit.
func lockMenu(ctx context.Context, tx pgx.Tx, s *Store, seen View) error {
	var menuID, overlayVersion, version int
	err := tx.QueryRow(ctx, `
    select t.menu_id, t.overlay_version, (select max(m.version) from menus m where m.menu_id = t.menu_id)
    from store_settings t
    where t.store_id = $1
    for update`, s.ID).Scan(&menuID, &overlayVersion, &version)
	if err != nil {
		return err
	}
	now := menuKey{int32(menuID), int32(version)}
	if overlayVersion != s.OverlayVersion || !strings.HasPrefix(seen.Version, now.prefix()) {
		return ErrPrecondition
	}
	return nil
}

func insertMenu(ctx context.Context, tx pgx.Tx, s *Store, menu *Menu, by string) (menuID int32, err error) {
	content, err := json.Marshal(menu)
	if err != nil {
		return 0, err
	}
	if s.OwnMenu {
		err = tx.QueryRow(ctx, `
    insert into menus (menu_id, version, content, created_by, created_at)
    overriding system value
    select menu_id, max(version) + 1, $2, $3, clock_timestamp()
    from menus
    where menu_id = $1
    group by menu_id
    returning menu_id`, s.MenuID, content, by).Scan(&menuID)
		return menuID, err
	}
	err = tx.QueryRow(ctx, `
    insert into menus (version, content, created_by, created_at)
    values (1, $1, $2, clock_timestamp())
    returning menu_id`, content, by).Scan(&menuID)
	return menuID, err
}

// writeOverlay makes the overlay the store's: what it does not name is the menu's again.
func writeOverlay(ctx context.Context, tx pgx.Tx, s *Store, menuID int32, own bool, overlay Overlay) error {
	if overlay.Prices == nil {
		overlay.Prices = map[string]int64{}
	}
	var kinds, refs []string
	var untils []*time.Time
	for key, until := range overlay.SoldOut {
		kind, ref, _ := strings.Cut(key, ":")
		kinds, refs = append(kinds, kind), append(refs, ref)
		if until.IsZero() {
			untils = append(untils, nil)
		} else {
			untils = append(untils, &until)
		}
	}
	batch := new(pgx.Batch)
	batch.Queue(`
    update store_settings
    set menu_id = $2, own_menu = own_menu or $3, prices = $4, overlay_version = overlay_version + 1, updated_at = clock_timestamp()
    where store_id = $1`, s.ID, menuID, own, overlay.Prices)
	batch.Queue(`
    update availability
    set available = true, until = null, decided_at = clock_timestamp()
    where store_id = $1 and not available`, s.ID)
	batch.Queue(`
    insert into availability (store_id, kind, ref, available, until, decided_at)
    select $1, kind, ref, false, until, clock_timestamp()
    from unnest($2::text[], $3::text[], $4::timestamptz[]) as v (kind, ref, until)
    on conflict (store_id, kind, ref) do update
    set available = false, until = excluded.until, decided_at = excluded.decided_at`, s.ID, kinds, refs, untils)
	return tx.SendBatch(ctx, batch).Close()
}

// withoutOutages is a copy of the menu with nothing sold out, but for options that some items have and others have not:
// that is for the menu to say, all else for an overlay, where a board can end it.
func (m *Menu) withoutOutages() *Menu {
	all := View{Menu: m}.copied()
	first, partly := map[string]outage{}, map[string]bool{}
	options := func(do func(*Option)) {
		for _, category := range all.Categories {
			for _, item := range category.Items {
				for _, group := range item.OptionGroups {
					for o := range group.Options {
						do(&group.Options[o])
					}
				}
			}
		}
	}
	options(func(o *Option) {
		now := View{}.optionOutage(o)
		if was, seen := first[o.ID]; seen && was != now {
			partly[o.ID] = true
		}
		first[o.ID] = now
	})
	options(func(o *Option) {
		if !partly[o.ID] {
			o.Available, o.AvailableFrom = true, nil
		}
	})
	for _, category := range all.Categories {
		for i := range category.Items {
			category.Items[i].Available, category.Items[i].AvailableFrom = true, nil
		}
	}
	return all
}
