package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"frenchpress/db"
)

// firstAdmin signs in at a shop that was just opened.
const firstAdmin = "admin"

// welcome prints the addresses to open. With a private database, which nobody else has set up, it also pairs a
// board and, the first time, makes somebody who can sign in.
func (s *Server) welcome(ctx context.Context, out io.Writer) error {
	stores := s.api.catalog.Search("", "", 1)
	if demo, ok := s.api.catalog.Store(db.DemoStores()[0].Slug); ok {
		stores = []*db.Store{demo}
	}
	fmt.Fprintf(out, "\n  Shop    %s/\n", s.URL)
	if len(stores) > 0 {
		link := s.URL + "/" + stores[0].Slug + "/board"
		if s.cluster != nil {
			token, err := pairDevice(ctx, s.api.pool, stores[0].ID)
			if err != nil {
				return fmt.Errorf("pairing a board: %w", err)
			}
			link += "#pair=" + token
		}
		fmt.Fprintf(out, "  Board   %s\n", link)
	}
	fmt.Fprintf(out, "  Staff   %s/staff", s.URL)
	if s.cluster != nil {
		password, err := s.firstStaff(ctx)
		if err != nil {
			return fmt.Errorf("making the first member of staff: %w", err)
		}
		if password != "" {
			fmt.Fprintf(out, "   name %s, password %s (shown this once)", firstAdmin, password)
		}
	}
	_, err := fmt.Fprint(out, "\n\n")
	return err
}

// firstStaff makes an admin where there is no staff yet, and returns the password.
func (s *Server) firstStaff(ctx context.Context) (password string, err error) {
	known, err := db.AnyStaff(ctx, s.api.pool)
	if err != nil || known {
		return "", err
	}
	password = rand.Text()[:16]
	detail := map[string]any{"name": firstAdmin, "role": db.Admin}
	return password, audited(ctx, s.api.pool, db.Chain, "staff.added", detail, func(tx pgx.Tx) error {
		if _, _, err := db.AddStaff(ctx, tx, firstAdmin, db.Admin); err != nil {
			return err
		}
		return db.SetPassword(ctx, tx, firstAdmin, password)
	})
}
