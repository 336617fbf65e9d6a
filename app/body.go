package main

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	bodyLimit     = 64 << 10
	commandsLimit = 512 << 10
)

// body is a JSON body as it came. The bytes are kept because an idempotency key stands for exactly them.
type body struct {
	raw  []byte
	root value
}

// readBody reads one JSON object of at most limit bytes. Whatever keeps it from being read is a Problem;
// what is wrong inside it is for fields to tell.
func readBody(c echo.Context, limit int) (*body, error) {
	if !isJSON(c.Request().Header) {
		return nil, notJSON()
	}
	raw, err := readRaw(c, limit)
	if err != nil {
		return nil, err
	}
	return parseBody(raw)
}

func notJSON() error {
	return problem("unsupported_media_type", "the body must be application/json, in UTF-8 and not compressed")
}

func parseBody(raw []byte) (*body, error) {
	root, err := parseJSON(raw)
	if err != nil {
		return nil, problem("malformed_json", syntaxFault(err))
	}
	if root.kind != '{' {
		return nil, db.Faults{{Pointer: "", Detail: "must be an object"}}
	}
	return &body{raw, root}, nil
}

// readOptionalBody takes no body at all for an empty object.
func readOptionalBody(c echo.Context) (*body, error) {
	raw, err := readRaw(c, bodyLimit) // only its end tells that one in chunks is empty
	switch {
	case err != nil:
		return nil, err
	case len(raw) == 0:
		return &body{root: value{kind: '{'}}, nil
	case !isJSON(c.Request().Header):
		return nil, notJSON()
	}
	return parseBody(raw)
}

// fields is the way into the body's object.
func (b *body) fields() *fields {
	b.root.read = true
	return &fields{faults: new(db.Faults), object: &b.root}
}

func isJSON(header http.Header) bool {
	if encoding := header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return false
	}
	given := header.Get(echo.HeaderContentType)
	if given == echo.MIMEApplicationJSON {
		return true
	}
	media, params, err := mime.ParseMediaType(given)
	charset, named := params["charset"]
	return err == nil && media == echo.MIMEApplicationJSON && (!named || strings.EqualFold(charset, "utf-8"))
}

func readRaw(c echo.Context, limit int) ([]byte, error) {
	req := c.Request()
	if req.ContentLength > int64(limit) {
		return nil, tooLarge(limit)
	}
	raw := bytes.NewBuffer(make([]byte, 0, max(req.ContentLength, 0)+bytes.MinRead))
	_, err := raw.ReadFrom(http.MaxBytesReader(c.Response().Writer, req.Body, int64(limit)))
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, problem("malformed_json", "the body broke off")
	}
	return raw.Bytes(), nil
}

// syntaxFault says what is wrong with the JSON and where. The parser's words may quote what was sent, but
// nothing of ours.
func syntaxFault(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errJSONMore):
		return errJSONMore.Error()
	case errors.As(err, &syntax):
		return strings.TrimPrefix(syntax.Error(), "jsontext: ")
	case errors.Is(err, io.EOF):
		return "the body is empty"
	}
	return err.Error()
}
