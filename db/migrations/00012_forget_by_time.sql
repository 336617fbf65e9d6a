-- +goose Up

-- What is forgotten makes room for what comes, anywhere in the table, and a block range never narrows: after two days each
-- bite of forgetting read nearly all of it. A group's rows have one moment, so that these are small.
drop index idempotency_keys_created, provider_messages_received;
create index idempotency_keys_created on idempotency_keys (created_at);
create index provider_messages_received on provider_messages (received_at);

-- +goose Down
drop index idempotency_keys_created, provider_messages_received;
create index idempotency_keys_created on idempotency_keys using brin (created_at);
create index provider_messages_received on provider_messages using brin (received_at);
