-- +goose Up

-- The lowest UUIDv7 of a moment: partition bounds and time filters are ranges of the order's own id.
-- +goose StatementBegin
create function uuid_floor(at timestamptz) returns uuid
language sql immutable strict parallel safe as $$
    select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;
-- +goose StatementEnd

create table secrets (
    name  text primary key,
    value bytea not null
);
comment on table secrets is 'Keys made by the first start and shared by every process on this database.';

create table menus (
    menu_id    int4 generated always as identity,
    version    int4 not null check (version > 0),
    content    jsonb not null check (jsonb_typeof(content) = 'object'),
    created_at timestamptz not null default now(),
    created_by text not null,
    primary key (menu_id, version)
);
create index menus_created on menus (created_at);
comment on table menus is 'Every version of every menu (categories, items, sizes, option groups, options), immutable. Chain-wide reference data; a store points at one menu and always sells its newest version.';

create table stores (
    store_id int4 generated always as identity primary key,
    slug     text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name     text not null check (name <> ''),
    address  text not null,
    lat      float8 not null check (lat between -90 and 90),
    lon      float8 not null check (lon between -180 and 180),
    timezone text not null,
    currency text not null check (currency ~ '^[A-Z]{3}$')
);
comment on table stores is 'The directory of stores: what hardly ever changes. Chain-wide reference data, the one place where a slug becomes a store_id.';

create table store_settings (
    store_id         int4 primary key references stores,
    menu_id          int4 not null,
    own_menu         bool not null default false,
    hours            jsonb not null check (jsonb_typeof(hours) = 'array'),
    paused_until     timestamptz,
    pause_decided_at timestamptz not null default '-infinity',
    slot_minutes     int4 not null default 15 check (slot_minutes between 5 and 240),
    slot_limit       int4 check (slot_limit > 0),
    prep_minutes     int4 not null default 5 check (prep_minutes between 0 and 240),
    prices           jsonb not null default '{}' check (jsonb_typeof(prices) = 'object'),
    version          int4 not null default 1,
    overlay_version  int4 not null default 1,
    updated_at       timestamptz not null default now()
);
create index store_settings_updated on store_settings (updated_at);
comment on table store_settings is 'What a store decides for itself: which menu, its own prices on it, opening hours, pause, slots. Every change moves updated_at, by which the processes notice it.';

create table availability (
    store_id   int4 not null references stores,
    kind       text not null check (kind in ('item', 'option')),
    ref        text not null,
    available  bool not null,
    until      timestamptz,
    decided_at timestamptz not null,
    primary key (store_id, kind, ref)
);
comment on table availability is 'What a store has said of an item or option: sold out (until when, null for until further notice) or available again. The latest decided_at wins.';

create table slots (
    store_id  int4 not null,
    starts_at timestamptz not null,
    taken     int4 not null default 0 check (taken >= 0),
    primary key (store_id, starts_at)
) with (fillfactor = 70);
comment on table slots is 'Places taken in a pickup slot of a store that limits them. The row is locked while places are given out, so a slot is never oversold.';

create table order_counters (
    store_id int4 not null,
    day      date not null,
    last     int4 not null check (last > 0),
    primary key (store_id, day)
) with (fillfactor = 50);
comment on table order_counters is 'The last order number given out per store and local day.';

create table orders (
    store_id       int4 not null,
    id             uuid not null,
    number         int4 not null check (number > 0),
    status         text not null check (status in ('payment_pending', 'payment_failed', 'placed', 'in_progress', 'ready', 'picked_up', 'cancelled', 'expired', 'abandoned')),
    open           bool not null generated always as (status in ('payment_pending', 'payment_failed', 'placed', 'in_progress', 'ready')) stored,
    version        int4 not null default 1 check (version > 0),
    fulfilment     text not null check (fulfilment in ('pickup', 'in_store')),
    pickup_at      timestamptz,
    slot_starts_at timestamptz,
    ready_estimate timestamptz,
    snapshot       jsonb not null,
    contact        jsonb,
    total          int8 not null check (total >= 0),
    payment_method text not null check (payment_method in ('card', 'counter')),
    payment_status text not null check (payment_status in ('pending', 'unknown', 'captured', 'failed', 'void', 'refund_pending', 'refunded', 'partially_refunded', 'due')),
    attempt        int4 not null default 0 check (attempt >= 0),
    captured       int8 not null default 0 check (captured in (0, total)),
    refunded       int8 not null default 0 check (refunded between 0 and captured),
    failure        text,
    holder         text,
    seen_at        timestamptz,
    updated_at     timestamptz not null,
    primary key (store_id, id)
) partition by range (id);
create index orders_open on orders (store_id, id) where open;
comment on table orders is 'One row per order. The snapshot (names, sizes, options, prices, tax, customer name, menu version) never changes; the state columns move by guarded updates only. Partitioned by month on the UUIDv7 id; open is indexed so that only leaving the shop, not every step, touches an index.';

create table order_history (
    store_id       int4 not null,
    order_id       uuid not null,
    version        int4 not null,
    status         text not null,
    payment_status text not null,
    by             text not null,
    reason         text,
    at             timestamptz not null,
    origin         int4 not null,
    primary key (store_id, order_id, version)
) partition by range (order_id);
create index order_history_at on order_history (at);
comment on table order_history is 'Append only: one row per version of an order, written in the transaction that made the version. origin names the process, so that the others can pick up what they were not told.';

create table payments (
    store_id   int4 not null,
    order_id   uuid not null,
    attempt    int4 not null check (attempt > 0),
    amount     int8 not null check (amount > 0),
    token      text,
    status     text not null check (status in ('pending', 'unknown', 'captured', 'failed', 'void', 'refund_pending', 'refunded', 'partially_refunded')),
    failure    text,
    provider_ref text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (store_id, order_id, attempt),
    foreign key (store_id, order_id) references orders (store_id, id)
) partition by range (order_id);
create unique index payments_live on payments (store_id, order_id)
    where status in ('pending', 'unknown', 'captured', 'refund_pending', 'refunded', 'partially_refunded');
create index payments_unsettled on payments (order_id)
    where status in ('pending', 'unknown', 'refund_pending');
comment on table payments is 'One row per attempt to charge an order. The provider key is derived from (store_id, order_id, attempt); at most one attempt of an order can be live or have captured. The card token is dropped once the attempt is settled.';

create table idempotency_keys (
    store_id   int4 not null,
    route      text not null,
    key        text not null check (length(key) between 1 and 255),
    body_hash  bytea not null,
    order_id   uuid not null,
    wait_until timestamptz,
    status     int2,
    answer     bytea,
    created_at timestamptz not null default now(),
    primary key (store_id, route, key)
);
create index idempotency_keys_created on idempotency_keys using brin (created_at);
create index idempotency_keys_order on idempotency_keys (store_id, order_id);
comment on table idempotency_keys is 'Keys of placed orders and repeated payments, kept at least 24 hours. status and answer freeze the first answer; without Prefer the answer of a placing is rendered again from the order as of version 1.';

create table devices (
    store_id   int4 not null references stores,
    id         uuid not null,
    name       text not null,
    token_hash bytea not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    primary key (store_id, id),
    unique (store_id, token_hash)
);
create index devices_revoked on devices (revoked_at) where revoked_at is not null;
comment on table devices is 'Barista devices, each paired with one store. Tokens are kept hashed; a revoked device keeps its row because history names it.';

create table commands (
    store_id     int4 not null,
    id           uuid not null,
    by           text not null,
    device_seq   int8 not null,
    type         text not null,
    content_hash bytea not null,
    order_id     uuid,
    result       text not null check (result in ('applied', 'noop', 'superseded', 'conflict', 'rejected')),
    reason       text,
    holder       text,
    occurred_at  timestamptz not null,
    received_at  timestamptz not null default now(),
    primary key (store_id, id)
);
create index commands_order on commands (store_id, order_id) where order_id is not null;
comment on table commands is 'Every command a device ever sent and its first result, rejections too: sending it again answers that result.';

create table staff (
    staff_id      int4 generated always as identity primary key,
    name          text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,79}$'),
    role          text not null check (role in ('admin', 'manager', 'support')),
    token_hash    bytea unique,
    password_hash text,
    created_at    timestamptz not null default now(),
    disabled_at   timestamptz
);
comment on table staff is 'People of the chain: admin (everything), manager (menus, stores, orders), support (orders). Chain-wide reference data.';

create table sessions (
    token  text primary key,
    data   bytea not null,
    expiry timestamptz not null
);
create index sessions_expiry on sessions (expiry);
comment on table sessions is 'Signed-in staff in a browser, in the form of the scs session library.';

create table notifications (
    store_id   int4 not null,
    subject    uuid not null,
    kind       text not null check (kind in ('order_confirmed', 'order_ready', 'order_cancelled', 'refund_issued', 'password_reset', 'marketing')),
    channel    text not null check (channel in ('email', 'sms', 'push')),
    status     text not null check (status in ('sending', 'sent', 'failed', 'suppressed')),
    claimed_at timestamptz not null default now(),
    primary key (store_id, subject, kind, channel)
);
comment on table notifications is 'One row per message a recipient may get: the primary key is what makes it at most once. store_id 0 stands for the chain (password resets, marketing).';

create table notification_log (
    store_id int4 not null,
    id       uuid not null,
    subject  uuid not null,
    kind     text not null,
    channel  text not null,
    address  text not null,
    outcome  text not null check (outcome in ('sent', 'failed', 'suppressed')),
    detail   text,
    at       timestamptz not null default now(),
    primary key (store_id, id)
);
create index notification_log_subject on notification_log (store_id, subject);
comment on table notification_log is 'Append only: every attempt to send a message and how it ended, suppressed ones with the reason.';

create table notification_preferences (
    address text not null,
    kind    text not null,
    channel text not null,
    allowed bool not null,
    primary key (address, kind, channel)
);
comment on table notification_preferences is 'What a recipient said about a kind on a channel. Silence allows everything but marketing. Chain-wide: an address belongs to no store.';

create table audit (
    store_id int4 not null,
    id       uuid not null,
    actor    text not null,
    action   text not null,
    detail   jsonb not null default '{}',
    at       timestamptz not null default now(),
    primary key (store_id, id)
);
comment on table audit is 'Append only: who changed a menu, hours, a pause, a device or signed in. store_id 0 stands for the chain.';

-- Monthly partitions of orders and its children with the same bounds, from the month of first on. Idempotent.
-- +goose StatementBegin
create function ensure_partitions(first timestamptz, months int) returns void
language plpgsql as $$
declare
    parent text;
    lower_bound timestamptz;
begin
    for i in 0..months - 1 loop
        lower_bound := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
        foreach parent in array array['orders', 'order_history', 'payments'] loop
            if to_regclass(format('%I', parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'))) is null then
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L) with (fillfactor = %s)',
                    parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'), parent,
                    uuid_floor(lower_bound),
                    uuid_floor(((lower_bound at time zone 'UTC') + interval '1 month') at time zone 'UTC'),
                    case parent when 'order_history' then 100 else 70 end);
            end if;
        end loop;
    end loop;
end
$$;
-- +goose StatementEnd
select ensure_partitions(now() - interval '1 month', 4);

-- The sandbox is the world outside: a card provider that happens to keep its books in the same PostgreSQL.
create schema sandbox;
create table sandbox.charges (
    key        text primary key,
    reference  text not null,
    amount     int8 not null check (amount > 0),
    token      text not null,
    outcome    text not null check (outcome in ('succeeded', 'failed')),
    failure    text,
    settles_at timestamptz not null,
    created_at timestamptz not null default now()
);
create index charges_reference on sandbox.charges (reference);
comment on table sandbox.charges is 'The sandbox provider''s ledger of charges: one row per idempotency key, append only.';

create table sandbox.refunds (
    key        text primary key,
    charge_key text not null references sandbox.charges,
    amount     int8 not null check (amount > 0),
    created_at timestamptz not null default now()
);
comment on table sandbox.refunds is 'The sandbox provider''s ledger of refunds: one row per idempotency key, append only.';

create table sandbox.refusals (
    key     text primary key,
    refused int4 not null
);
comment on table sandbox.refusals is 'How often tok_flaky has been refused under a key: nothing of the charge itself is kept.';

-- +goose Down
drop schema sandbox cascade;
drop table audit, notification_preferences, notification_log, notifications, sessions, staff, commands, devices,
    idempotency_keys, payments, order_history, orders, order_counters, slots, availability, store_settings, stores, menus, secrets;
drop function ensure_partitions, uuid_floor;
