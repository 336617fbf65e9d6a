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
	read    bool     // somebody looked into this object
	text    string   // of a string, unescaped; of a number, as written
	members []member // of an object, in the order they came; of an array, without names
}

type member struct {
	name  string
	read  bool // somebody asked for this member
	value value
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
	case '{', '[':
		v.members, err = p.members(v.kind, depth+1)
	}
	return v, err
}

// members reads on to the end of an object or array.
func (p *parser) members(kind jsontext.Kind, depth int) ([]member, error) {
	object := kind == '{'
	members := make([]member, 0, 4)
	for next := p.decoder.PeekKind(); next != '}' && next != ']'; next = p.decoder.PeekKind() {
		var m member
		if object {
			name, err := p.decoder.ReadToken()
			if err != nil {
				return nil, err
			}
			m.name = name.String()
		}
		var err error
		if m.value, err = p.next(depth); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	_, err := p.decoder.ReadToken() // which knows whether it is the right end
	return members, err
}
