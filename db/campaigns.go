package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const announcementMost = 500 // characters

// AddCampaign keeps a text of 1 to 500 characters that goes to everybody who wants news, and counts them.
func AddCampaign(ctx context.Context, q Querier, text string) (id uuid.UUID, subscribers int, err error) {
	if fault := TextFault(text, 1, announcementMost); fault != "" {
		return uuid.Nil, 0, errors.New("the text " + fault)
	}
	id = newID(time.Now())
	if _, err := q.Exec(ctx, `
    insert into campaigns (id, text)
    values ($1, $2)`, id, text); err != nil {
		return uuid.Nil, 0, err
	}
	err = q.QueryRow(ctx, `
    select count(*)
    from notification_preferences
    where kind = 'marketing' and allowed`).Scan(&subscribers)
	return id, subscribers, err
}

// CampaignText is what a campaign says.
func CampaignText(ctx context.Context, q Querier, id uuid.UUID) (text string, err error) {
	err = q.QueryRow(ctx, `select text from campaigns where id = $1`, id).Scan(&text)
	return text, err
}

// Subscriber is an address that wants news.
type Subscriber struct {
	ID int64 // counts them in the order in which they first said anything about news
	Address
}

// Subscribers are those after one, through another (0 for no end), by id, at most limit.
func Subscribers(ctx context.Context, q Querier, after, through int64, limit int) ([]Subscriber, error) {
	rows, err := q.Query(ctx, `
    select id, channel, address
    from notification_preferences
    where kind = 'marketing' and allowed and id > $1 and ($2 = 0 or id <= $2)
    order by id
    limit $3`, after, through, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Subscriber, err error) {
		err = row.Scan(&s.ID, &s.Channel, &s.To)
		return s, err
	})
}
