package main

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// staffForgotForm asks for the name of who has forgotten the password.
func (a *API) staffForgotForm(c echo.Context) error {
	return writePage(c, http.StatusOK, "forgot", doorPage{head: head{Title: "Forgot your password?"}})
}

// staffForgot sends a code to the address of that name. The answer is the same whether there is one or not, and
// every request counts as an attempt.
func (a *API) staffForgot(c echo.Context) error {
	name, _, err := staffForm(c)
	if err != nil {
		return err
	}
	page := doorPage{head: head{Title: "Forgot your password?"}, Name: name}
	if a.throttled(c, &page) {
		return writePage(c, http.StatusTooManyRequests, "forgot", page)
	}
	if err := a.jobs.RequestReset(c.Request().Context(), name); err != nil {
		return err
	}
	page.Title = resetTitle
	page.Note = "If we know this name and an address for it, a code is on its way there. It is valid for 15 minutes."
	return writePage(c, http.StatusOK, "reset", page)
}

const resetTitle = "Set a new password"

// staffResetForm asks for a code that came by mail.
func (a *API) staffResetForm(c echo.Context) error {
	return writePage(c, http.StatusOK, "reset", doorPage{head: head{Title: resetTitle}})
}

// staffReset sets a new password for who has the code. Attempts are counted with those to sign in.
func (a *API) staffReset(c echo.Context) error {
	name, form, err := staffForm(c)
	if err != nil {
		return err
	}
	page := doorPage{head: head{Title: resetTitle}, Name: name}
	password := form.Get("password")
	if fault := db.PasswordFault(password); fault != "" {
		page.Fault = "The new password " + fault + "."
		return writePage(c, http.StatusUnprocessableEntity, "reset", page)
	}
	if a.throttled(c, &page) {
		return writePage(c, http.StatusTooManyRequests, "reset", page)
	}
	err = db.ResetPassword(c.Request().Context(), a.pool, a.secret, name, form.Get("code"), password)
	if errors.Is(err, db.ErrWrongCode) {
		page.Fault = "The name or the code is wrong, or the code is too old."
		return writePage(c, http.StatusUnprocessableEntity, "reset", page)
	}
	a.attempts.giveBack(attemptKeys(c, name)...)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/staff/sign-in?reset")
}
