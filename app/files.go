package main

import (
	"bytes"
	_ "embed"
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
	if _, known := staticFiles[c.Param("*")]; !known {
		return echo.ErrNotFound
	}
	serveStatic(c.Response(), c.Request())
	return nil
}

// writePage answers with a page, whole or not at all.
func writePage(c echo.Context, status int, name string, data any) error {
	var page bytes.Buffer
	if err := renderPage(&page, name, data); err != nil {
		return err
	}
	return c.HTMLBlob(status, page.Bytes())
}
