-- +goose Up

-- For the timers: what is open and old is found without looking at what is open and young, which on a record day is
-- half a million orders. An order enters and leaves it with orders_open, so steps in between touch no index still.
create index orders_open_since on orders (id) where open;

-- Served one page of one order, at a leaf of its own for each order placed; the primary key finds a store's keys of two
-- days as well.
drop index idempotency_keys_order;
