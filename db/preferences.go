package db

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CustomerKinds are the kinds of messages that a customer may allow or not.
var CustomerKinds = []string{"order_confirmed", "order_ready", "order_cancelled", "refund_issued", "marketing"}

// Channels are the ways to reach people.
var Channels = []string{"email", "sms", "push"}

// Address is where somebody is reached on a channel.
type Address struct{ Channel, To string }

// punctuation is what people write between the digits of a telephone number.
var punctuation = strings.NewReplacer(" ", "", "(", "", ")", "", ".", "", "-", "")

// Addresses are those of a contact, in the order of Channels; none of nil. However they were spelt, the same address is
// the same text.
func (c *Contact) Addresses() []Address {
	if c == nil {
		return nil
	}
	all := []Address{{"email", strings.ToLower(c.Email)}, {"sms", punctuation.Replace(c.Phone)}, {"push", c.Push}}
	return slices.DeleteFunc(all, func(a Address) bool { return a.To == "" })
}

// Preference says whether a recipient allows a kind of message on a channel.
type Preference struct {
	Kind    string `json:"kind"`
	Channel string `json:"channel"`
	Allowed bool   `json:"allowed"`
}

// Preferences are what a contact allows, for every kind that customers get on every channel that the contact has:
// what was said, else everything but marketing.
func Preferences(ctx context.Context, q Querier, contact *Contact) ([]Preference, error) {
	addresses := contact.Addresses()
	channels, to := columns(addresses)
	rows, err := q.Query(ctx, `
    select c.channel, k.kind, coalesce(p.allowed, k.kind <> 'marketing')
    from unnest($1::text[], $2::text[]) with ordinality as c (channel, address, place)
    cross join unnest($3::text[]) with ordinality as k (kind, place)
    left join notification_preferences p on p.address = c.address and p.kind = k.kind and p.channel = c.channel
    order by c.place, k.place`, channels, to, CustomerKinds)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Preference, err error) {
		err = row.Scan(&p.Channel, &p.Kind, &p.Allowed)
		return p, err
	})
}

func columns(addresses []Address) (channels, to []string) {
	for _, a := range addresses {
		channels, to = append(channels, a.Channel), append(to, a.To)
	}
	return channels, to
}

// SetPreferences records what a contact says: one preference at most for a kind on a channel, and only for channels
// that the contact has.
func SetPreferences(ctx context.Context, q Querier, contact *Contact, said []Preference) error {
	said = slices.SortedFunc(slices.Values(said), func(a, b Preference) int { // or two that save at once lock each other out
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Kind, b.Kind))
	})
	channels, to := columns(contact.Addresses())
	var kinds, on []string
	var allowed []bool
	for _, p := range said {
		kinds, on, allowed = append(kinds, p.Kind), append(on, p.Channel), append(allowed, p.Allowed)
	}
	_, err := q.Exec(ctx, `
    insert into notification_preferences (address, kind, channel, allowed)
    select c.address, p.kind, p.channel, p.allowed
    from unnest($1::text[], $2::text[], $3::bool[]) with ordinality as p (kind, channel, allowed, place)
    join unnest($4::text[], $5::text[]) as c (channel, address) on c.channel = p.channel
    order by p.place
    on conflict (address, kind, channel) do update set allowed = excluded.allowed`, kinds, on, allowed, channels, to)
	return err
}
