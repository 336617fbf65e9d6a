-- +goose Up

-- A payment is written over twice, which takes a place of its own each time: when its intent is stored, and when it is
-- settled. With room for one version beside each row the first finds its place on the row's page, and no index hears of it.

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
                    case when parent in ('order_history', 'ledger') then 100 when parent = 'payments' then 45 else 70 end);
                if parent = 'orders' then
                    execute format('alter table %I alter snapshot set statistics 0, alter contact set statistics 0',
                                   parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM'));
                end if;
            end if;
        end loop;
    end loop;
end
$$;

do $$
declare
    month regclass;
begin
    for month in select inhrelid from pg_inherits where inhparent = 'payments'::regclass loop
        execute format('alter table %s set (fillfactor = 45)', month);
    end loop;
end
$$;
-- +goose StatementEnd

-- +goose Down
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

do $$
declare
    month regclass;
begin
    for month in select inhrelid from pg_inherits where inhparent = 'payments'::regclass loop
        execute format('alter table %s set (fillfactor = 70)', month);
    end loop;
end
$$;
-- +goose StatementEnd
