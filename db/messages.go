package db

import (
	"context"
	"time"
)

// TakeMessage takes note of something that the provider told of by itself, by its own id; false if it had come
// before.
func TakeMessage(ctx context.Context, q Querier, id, kind, object string) (bool, error) {
	tag, err := q.Exec(ctx, `
    insert into provider_messages (id, type, object)
    values ($1, $2, $3)
    on conflict do nothing`, id, kind, object)
	return tag.RowsAffected() == 1, err
}

// MessageAbout is which kind of thing a message was about, and which one.
func MessageAbout(ctx context.Context, q Querier, id string) (kind, object string, err error) {
	err = q.QueryRow(ctx, `select type, object from provider_messages where id = $1`, id).Scan(&kind, &object)
	return kind, object, err
}

// PruneMessages forgets messages older than age, in bites of at most limit rows; it returns how many went.
func PruneMessages(ctx context.Context, q Querier, age time.Duration, limit int) (int64, error) {
	tag, err := q.Exec(ctx, `
    delete from provider_messages
    where ctid in (select ctid from provider_messages where received_at < $1 limit $2)`, time.Now().Add(-age), limit)
	return tag.RowsAffected(), err
}
