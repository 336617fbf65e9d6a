-- +goose Up

create table ledger (
    store_id int4 not null,
    order_id uuid not null,
    version  int4 not null check (version > 0),
    kind     text not null check (kind in ('capture', 'refund')),
    card     int8 not null,
    till     int8 not null,
    sales    int8 not null,
    tax      int8 not null,
    tips     int8 not null,
    at       timestamptz not null,
    primary key (store_id, order_id, version),
    check (card + till + sales + tax + tips = 0),
    check (card = 0 or till = 0),
    check (case kind when 'capture' then card + till > 0 and sales <= 0 and tax <= 0 and tips <= 0
                                    else card + till < 0 and sales >= 0 and tax >= 0 and tips >= 0 end)
) partition by range (order_id);
comment on table ledger is 'Append only: one row for each movement of money, written with the version of the order that it made, with the legs of its double entry as columns. What is taken stands in card or till, what it was taken for in sales, tax and tips with the opposite sign; a refund is the other way round.';

create table refunds (
    store_id     int4 not null,
    order_id     uuid not null,
    n            int4 not null check (n > 0),
    amount       int8 not null check (amount > 0),
    sales        int8 not null check (sales >= 0),
    tax          int8 not null check (tax >= 0),
    tip          int8 not null check (tip >= 0),
    lines        jsonb not null check (jsonb_typeof(lines) = 'array'),
    method       text not null check (method in ('card', 'till')),
    reason       text,
    by           text not null,
    status       text not null check (status in ('pending', 'done', 'failed')),
    failure      text,
    provider_ref text,
    tries        int4 not null default 1 check (tries > 0),
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    primary key (store_id, order_id, n),
    foreign key (store_id, order_id) references orders (store_id, id),
    check (amount = sales + tax + tip),
    check (method = 'card' or status = 'done')
) partition by range (order_id);
create index refunds_unsettled on refunds (order_id, n) where status in ('pending', 'failed');
comment on table refunds is 'One row per refund of an order, counted from 1: which units of which lines, and what of it was sales, tax and tip. The provider key is derived from (store_id, order_id, n) and, when staff have it tried again, tries. A failed one is still owed and waits for staff.';

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
            end if;
        end loop;
    end loop;
end
$$;
-- +goose StatementEnd
select ensure_partitions(to_date(right(c.relname, 7), 'YYYY_MM')::timestamp at time zone 'UTC', 1)
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'orders'::regclass;

-- What was refunded before there were refunds went back whole. One that the provider may have been asked for already is
-- asked for under another key now: it refuses what goes beyond the charge, so that nothing is given back twice.
insert into refunds (store_id, order_id, n, amount, sales, tax, tip, lines, method, by, status, created_at, updated_at)
select o.store_id, o.id, 1, o.captured, o.captured - s.tax - s.tip, s.tax, s.tip, s.lines,
       case o.payment_method when 'card' then 'card' else 'till' end, h.by,
       case o.payment_status when 'refunded' then 'done' else 'pending' end, h.at, o.updated_at
from orders o
cross join lateral (
    select coalesce((o.snapshot ->> 'tax')::int8, 0) as tax, coalesce((o.snapshot ->> 'tip')::int8, 0) as tip,
           coalesce((select jsonb_agg(jsonb_build_object('line', place - 1, 'quantity', line -> 'quantity') order by place)
                     from jsonb_array_elements(o.snapshot -> 'lines') with ordinality as l (line, place)), '[]') as lines
) as s
join lateral (
    select h.by, h.at
    from order_history h
    where h.store_id = o.store_id and h.order_id = o.id and h.payment_status in ('refund_pending', 'refunded')
    order by h.version
    limit 1
) as h on true
where o.payment_status in ('refund_pending', 'refunded') and o.captured > 0;

insert into ledger (store_id, order_id, version, kind, card, till, sales, tax, tips, at)
select o.store_id, o.id, h.version, m.kind,
       case o.payment_method when 'card' then m.sign * o.captured else 0 end,
       case o.payment_method when 'card' then 0 else m.sign * o.captured end,
       -m.sign * (o.captured - s.tax - s.tip), -m.sign * s.tax, -m.sign * s.tip, h.at
from orders o
cross join lateral (
    select coalesce((o.snapshot ->> 'tax')::int8, 0) as tax, coalesce((o.snapshot ->> 'tip')::int8, 0) as tip
) as s
cross join (values ('capture', 1, array['captured', 'refund_pending', 'refunded']), ('refund', -1, array['refunded'])) as m (kind, sign, shown_by)
join lateral (
    select h.version, h.at
    from order_history h
    where h.store_id = o.store_id and h.order_id = o.id and h.payment_status = any(m.shown_by)
    order by h.version
    limit 1
) as h on true
where o.captured > 0 and (m.kind = 'capture' or o.payment_status = 'refunded');

-- +goose Down
drop table refunds, ledger;
-- +goose StatementBegin
create or replace function ensure_partitions(first timestamptz, months int) returns void
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
