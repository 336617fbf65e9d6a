package main

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

type preferencesAnswer struct {
	Preferences []db.Preference `json:"preferences"`
}

// getPreferences tells a customer which messages about this order, and others, would reach them.
func (a *API) getPreferences(c echo.Context) error {
	contact, err := a.contactOf(c)
	if err != nil {
		return err
	}
	return a.answerPreferences(c, contact)
}

// putPreferences changes those that the customer names.
func (a *API) putPreferences(c echo.Context) error {
	contact, err := a.contactOf(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	said, err := readPreferences(body.fields(), contact)
	if err != nil {
		return err
	}
	if err := db.SetPreferences(c.Request().Context(), a.pool, contact, said); err != nil {
		return err
	}
	return a.answerPreferences(c, contact)
}

func (a *API) answerPreferences(c echo.Context, contact *db.Contact) error {
	preferences, err := db.Preferences(c.Request().Context(), a.pool, contact)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, preferencesAnswer{preferences})
}

// contactOf is how the customer of the order is reached; nil if they cannot be.
func (a *API) contactOf(c echo.Context) (*db.Contact, error) {
	ref, err := a.orderRef(c)
	if err != nil {
		return nil, err
	}
	order, err := db.OrderByID(c.Request().Context(), a.pool, ref)
	if err != nil {
		return nil, err
	}
	return order.Contact, nil
}

func readPreferences(f *fields, contact *db.Contact) ([]db.Preference, error) {
	var said []db.Preference
	for _, each := range f.list("preferences", 0, len(db.CustomerKinds)*len(db.Channels)) {
		p := db.Preference{
			Kind:    each.oneOf("kind", db.CustomerKinds...),
			Channel: each.oneOf("channel", db.Channels...),
			Allowed: each.bool("allowed"),
		}
		reached := slices.ContainsFunc(contact.Addresses(), func(a db.Address) bool { return a.Channel == p.Channel })
		switch twice := func(q db.Preference) bool { return q.Kind == p.Kind && q.Channel == p.Channel }; {
		case p.Kind == "" || p.Channel == "":
		case !reached:
			each.fault("channel", "has no address in this order")
		case slices.ContainsFunc(said, twice):
			each.fault("kind", "is there twice for this channel")
		}
		said = append(said, p)
	}
	return said, f.err()
}
