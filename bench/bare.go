package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

type bareRun struct {
	Target string `default:"http://127.0.0.1:8080" help:"Where to read the menu once."`
	Store  string `default:"ferry-building" help:"Whose menu."`
	Listen string `default:"127.0.0.1:8090" help:"Where to serve it."`
}

// sameHead are the headers of a menu's answer, besides those that every server writes.
var sameHead = []string{"ETag", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy", "X-Request-Id"}

// Run serves the bytes of one menu, its head included, for every store, with the least that Echo needs: what the
// shop's menu is measured against.
func (s *bareRun) Run(ctx context.Context) error {
	menu, head, err := s.fetch()
	if err != nil {
		return err
	}
	tag := head["ETag"]
	e := echo.New()
	e.HideBanner = true
	e.GET("/v1/stores/:store/menu", func(c echo.Context) error {
		header := c.Response().Header()
		for name, value := range head {
			header.Set(name, value)
		}
		if c.Request().Header.Get("If-None-Match") == tag {
			return c.NoContent(http.StatusNotModified)
		}
		return c.JSONBlob(http.StatusOK, menu)
	})
	context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = e.Shutdown(closing)
	})
	if err := e.Start(s.Listen); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *bareRun) fetch() (menu []byte, head map[string]string, err error) {
	pool, err := NewPool(s.Target, nil)
	if err != nil {
		return nil, nil, err
	}
	defer pool.Close()
	c := pool.Get()
	c.Request("GET", "/v1/stores/", s.Store, "/menu")
	c.NoBody()
	if err := c.Do(); err != nil {
		return nil, nil, err
	}
	if c.Status() != http.StatusOK {
		return nil, nil, fmt.Errorf("the menu of %s: status %d", s.Store, c.Status())
	}
	head = map[string]string{}
	for _, name := range sameHead {
		if value := c.AnswerHeader(name); len(value) > 0 {
			head[name] = string(value)
		}
	}
	return append([]byte{}, c.Answer()...), head, nil
}
