-- +goose Up

-- All at once and in the order in which a change takes them: a process that goes on working meanwhile waits, and neither
-- side has what the other waits for.
lock table commands, orders, order_history, payments, ledger, refunds, notifications, notification_log in access exclusive mode;

-- What belongs to an order is found by the order first: ids are made in the order of time, so that what is written now goes
-- to the end of each index, into leaves that are in memory. With the store first every order of a large chain touched another
-- leaf of each, had it read, and had it written whole into the log after each checkpoint.
alter table order_history drop constraint order_history_pkey, add primary key (order_id, store_id, version);
alter table payments drop constraint payments_pkey, add primary key (order_id, store_id, attempt);
alter table ledger drop constraint ledger_pkey, add primary key (order_id, store_id, version);
alter table refunds drop constraint refunds_pkey, add primary key (order_id, store_id, n);
alter table notifications drop constraint notifications_pkey, add primary key (subject, store_id, kind, channel);
alter table notification_log drop constraint notification_log_pkey, add primary key (id, store_id);
drop index payments_live, commands_order, notification_log_subject;
create unique index payments_live on payments (order_id, store_id)
    where status in ('pending', 'unknown', 'captured', 'refund_pending', 'refunded', 'partially_refunded');
create index commands_order on commands (order_id, store_id) where order_id is not null;
create index notification_log_subject on notification_log (subject, store_id);

-- A payment is written in the transaction that writes its order, or under that order's lock, and no order is ever deleted;
-- to look for the order again cost as much as the payment itself.
alter table payments drop constraint payments_store_id_order_id_fkey;

-- Nobody looks for orders by what is in them, and to sort a sample of them cost more than all other statistics together.
alter table orders alter snapshot set statistics 0, alter contact set statistics 0;

-- Monthly partitions of orders and its children with the same bounds, from the month of first on. Idempotent.
-- +goose StatementBegin
create or replace function ensure_partitions(first timestamptz, months int) returns void
language plpgsql as $$
declare
    parent text;
    lower_bound timestamptz;
begin
    for i in 0..months - 1 loop
        lower_bound := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
        foreach parent in array array['orders', 'order_history', 'payments', 'ledger', 'refunds'] loop
            if to_regclass(format('%I', parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'))) is null then
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L) with (fillfactor = %s)',
                    parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'), parent,
                    uuid_floor(lower_bound),
                    uuid_floor(((lower_bound at time zone 'UTC') + interval '1 month') at time zone 'UTC'),
                    case when parent in ('order_history', 'ledger') then 100 else 70 end);
                if parent = 'orders' then
                    execute format('alter table %I alter snapshot set statistics 0, alter contact set statistics 0',
                                   parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'));
                end if;
            end if;
        end loop;
    end loop;
end
$$;
-- +goose StatementEnd

-- +goose Down
lock table commands, orders, order_history, payments, ledger, refunds, notifications, notification_log in access exclusive mode;
alter table orders alter snapshot set statistics -1, alter contact set statistics -1;
alter table payments add foreign key (store_id, order_id) references orders (store_id, id);
alter table order_history drop constraint order_history_pkey, add primary key (store_id, order_id, version);
alter table payments drop constraint payments_pkey, add primary key (store_id, order_id, attempt);
alter table ledger drop constraint ledger_pkey, add primary key (store_id, order_id, version);
alter table refunds drop constraint refunds_pkey, add primary key (store_id, order_id, n);
alter table notifications drop constraint notifications_pkey, add primary key (store_id, subject, kind, channel);
alter table notification_log drop constraint notification_log_pkey, add primary key (store_id, id);
drop index payments_live, commands_order, notification_log_subject;
create unique index payments_live on payments (store_id, order_id)
    where status in ('pending', 'unknown', 'captured', 'refund_pending', 'refunded', 'partially_refunded');
create index commands_order on commands (store_id, order_id) where order_id is not null;
create index notification_log_subject on notification_log (store_id, subject);
-- +goose StatementBegin
create or replace function ensure_partitions(first timestamptz, months int) returns void
language plpgsql as $$
declare
    parent text;
    lower_bound timestamptz;
begin
    for i in 0..months - 1 loop
        lower_bound := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
        foreach parent in array array['orders', 'order_history', 'payments', 'ledger', 'refunds'] loop
            if to_regclass(format('%I', parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'))) is null then
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L) with (fillfactor = %s)',
                    parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'), parent,
                    uuid_floor(lower_bound),
                    uuid_floor(((lower_bound at time zone 'UTC') + interval '1 month') at time zone 'UTC'),
                    case when parent in ('order_history', 'ledger') then 100 else 70 end);
            end if;
        end loop;
    end loop;
end
$$;
-- +goose StatementEnd
