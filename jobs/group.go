package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"frenchpress/db"
)

// orderList are the orders of one group commit, in a job's args as one text. Of an array PostgreSQL would put every element
// into River's index of all that args hold, three times in a job's life: ten times the work, for nobody who asks.
type orderList []db.OrderRef

// MarshalText names the orders by their References, with spaces in between.
func (l orderList) MarshalText() ([]byte, error) {
	return joined(l, db.OrderRef.Reference), nil
}

// UnmarshalJSON reads what MarshalText wrote, and an array.
func (l *orderList) UnmarshalJSON(text []byte) (err error) {
	*l, err = split(text, db.ParseReference)
	return err
}

// noticeList are the messages that one group of changes asked for, in a job's args as one text, like orderList.
type noticeList []db.Notice

// MarshalText names each message by its kind, a colon, and the order's Reference.
func (l noticeList) MarshalText() ([]byte, error) {
	return joined(l, func(n db.Notice) string { return n.Kind + ":" + n.Reference() }), nil
}

// UnmarshalJSON reads what MarshalText wrote, and an array.
func (l *noticeList) UnmarshalJSON(text []byte) (err error) {
	*l, err = split(text, func(word string) (db.Notice, bool) {
		kind, reference, _ := strings.Cut(word, ":")
		ref, ok := db.ParseReference(reference)
		return db.Notice{OrderRef: ref, Kind: kind}, ok
	})
	return err
}

func joined[T any](list []T, word func(T) string) []byte {
	var text []byte
	for i, one := range list {
		if i > 0 {
			text = append(text, ' ')
		}
		text = append(text, word(one)...)
	}
	return text
}

func split[T any](text []byte, parse func(string) (T, bool)) (list []T, _ error) {
	if bytes.HasPrefix(text, []byte("[")) { // of an older program, whose jobs may wait for hours
		return list, json.Unmarshal(text, &list)
	}
	var words string
	if err := json.Unmarshal(text, &words); err != nil {
		return nil, err
	}
	for word := range strings.FieldsSeq(words) {
		one, ok := parse(word)
		if !ok {
			return nil, fmt.Errorf("%q names no order", word)
		}
		list = append(list, one)
	}
	return list, nil
}
