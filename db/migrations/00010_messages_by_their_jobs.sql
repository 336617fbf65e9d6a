-- +goose Up

-- Whether a message is worked, its job says.
alter table provider_messages drop column worked_at;

-- +goose Down

alter table provider_messages add column worked_at timestamptz;
