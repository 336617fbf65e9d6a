package main

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	jsonDepth = 32
	// jsonValues bounds what a small body blows up to in memory: 500 commands have about 5,000 values, the
	// largest order about 8,000.
	jsonValues = 20_000
)

var (
	errJSONDepth  = errors.New("the body is nested too deeply")
	errJSONValues = errors.New("the body has too many values")
	errJSONMore   = errors.New("the body goes on after its JSON value")
)

// value is one JSON value with all there is to know of it.
type value struct {
	kind    jsontext.Kind
	text    string   // of a string, unescaped; of a number, as written
	members []member // of an object, in the order they came
	items   []value  // of an array
	read    bool     // somebody looked into this object
}

type member struct {
	name  string
	value value
	read  bool // somebody asked for this member
}

// parseJSON reads exactly one JSON value, in strict UTF-8. Names may come twice: only objects that are
// looked into have a say in that.
func parseJSON(data []byte) (value, error) {
	p := parser{decoder: jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))}
	v, err := p.next(0)
	if err != nil {
		return value{}, err
	}
	if _, err := p.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return value{}, errors.Join(errJSONMore, err)
	}
	return v, nil
}

type parser struct {
	decoder *jsontext.Decoder
	values  int
}

func (p *parser) next(depth int) (value, error) {
	token, err := p.decoder.ReadToken()
	if err != nil {
		return value{}, err
	}
	if p.values++; p.values > jsonValues {
		return value{}, errJSONValues
	}
	if depth > jsonDepth {
		return value{}, errJSONDepth
	}
	v := value{kind: token.Kind()}
	switch v.kind {
	case '"', '0':
		v.text = token.String()
	case '{':
		v.members, err = p.object(depth)
	case '[':
		v.items, err = p.array(depth)
	}
	return v, err
}

func (p *parser) object(depth int) ([]member, error) {
	var members []member
	for p.decoder.PeekKind() != '}' {
		name, err := p.decoder.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		if m.value, err = p.next(depth + 1); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	_, err := p.decoder.ReadToken()
	return members, err
}

func (p *parser) array(depth int) ([]value, error) {
	var items []value
	for p.decoder.PeekKind() != ']' {
		item, err := p.next(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := p.decoder.ReadToken()
	return items, err
}
