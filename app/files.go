package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed openapi.yaml
var openAPI []byte

// openapi serves the contract as a file.
func (a *API) openapi(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openAPI)
}

// static serves what pages refer to.
func (a *API) static(c echo.Context) error {
	file, known := staticFiles[c.Param("*")]
	if !known {
		return echo.ErrNotFound
	}
	file.serve(c.Response(), c.Request())
	return nil
}

// writePage answers with a page, whole or not at all, so that a page of the fault can still be shown.
func writePage(c echo.Context, status int, name string, data any) error {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	return c.HTMLBlob(status, page.Bytes())
}
