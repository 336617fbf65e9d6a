-- +goose Up

-- A month is made as a table of its own and then attached, which waits for writers alone: "partition of" waits for whoever
-- reads, a dump of hours too, and all who come after it wait with it. Who cannot have its locks soon gives up: months are
-- made two ahead, and it is tried again every minute.

-- Monthly partitions of orders and its children with the same bounds, from the month of first on. Idempotent.
-- +goose StatementBegin
create or replace function ensure_partitions(first timestamptz, months int) returns void
language plpgsql set lock_timeout = '500ms' as $$
declare
    parent text;
    month text;
    lower_bound timestamptz;
begin
    for i in 0..months - 1 loop
        lower_bound := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
        foreach parent in array array['orders', 'order_history', 'payments', 'ledger', 'refunds'] loop
            month := parent || to_char(lower_bound at time zone 'UTC', '_YYYY_MM');
            if to_regclass(format('%I', month)) is null then
                execute format(
                    'create table %I (like %I including defaults including generated including constraints including storage) with (fillfactor = %s)',
                    month, parent,
                    case when parent in ('order_history', 'ledger') then 100 when parent = 'payments' then 45 else 70 end);
                if parent = 'orders' then
                    execute format('alter table %I alter snapshot set statistics 0, alter contact set statistics 0', month);
                end if;
                execute format(
                    'alter table %I attach partition %I for values from (%L) to (%L)', parent, month,
                    uuid_floor(lower_bound),
                    uuid_floor(((lower_bound at time zone 'UTC') + interval '1 month') at time zone 'UTC'));
            end if;
        end loop;
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
-- +goose StatementEnd
