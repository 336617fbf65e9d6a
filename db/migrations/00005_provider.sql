-- +goose Up

alter table payments
    add column tries int4 not null default 1 check (tries > 0),
    add column provider_words text;
-- Payments are added in the order of their making and keep their moment, so that this one costs nearly nothing.
create index payments_created on payments using brin (created_at) with (autosummarize = on);
comment on table payments is 'One row per attempt to charge an order; at most one attempt of an order can be live or have captured. The provider''s keys are derived from (store_id, order_id, attempt) and tries, which counts on when a key is answered with a kept 500. provider_ref is the intent, stored before it is confirmed, or empty: none will ever be. The card token is dropped once the attempt is settled.';

create table provider_messages (
    id          text primary key check (length(id) between 1 and 255),
    type        text not null,
    object      text not null,
    received_at timestamptz not null default now(),
    worked_at   timestamptz
);
create index provider_messages_received on provider_messages using brin (received_at);
comment on table provider_messages is 'What the provider told us of by itself, by its own id: a delivery that comes again is nothing new. Only which intent or refund it is about is kept; what became of that is read from the provider. Chain-wide: it is known only then whose order it is.';

create table payment_differences (
    kind        text not null check (kind in ('charge_without_order', 'order_without_charge', 'charge_not_settled', 'amount_differs', 'refund_without_record', 'refund_missing')),
    ref         text not null,
    order_ref   text not null,
    ours        int8 not null,
    provider    int8 not null,
    words       text not null,
    first_seen  timestamptz not null default now(),
    last_seen   timestamptz not null default now(),
    resolved_at timestamptz,
    primary key (kind, ref)
);
create index payment_differences_open on payment_differences (first_seen) where resolved_at is null;
comment on table payment_differences is 'Where the provider''s books and ours do not agree, each by the intent, or the order where there is none. A difference that comes again after it was resolved is opened again. Chain-wide: a charge may be of no order.';

create table reconciliation (
    one        bool primary key default true check (one),
    done_until timestamptz not null,
    ran_at     timestamptz not null,
    intents    int8 not null,
    refunds    int8 not null
);
comment on table reconciliation is 'Up to when the books were compared, when that was last done, and how many charges and refunds have been looked at. One row at most.';

-- The sandbox keeps its books on a disk of its own now.
drop schema sandbox cascade;

-- +goose Down
create schema sandbox;
drop table reconciliation, payment_differences, provider_messages;
drop index payments_created;
alter table payments
    drop column provider_words,
    drop column tries;
