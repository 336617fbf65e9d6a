-- +goose Up

-- Only who asks for orders by their ids may use this index: of a store's open orders it must never seem to be an index.
-- A calm night leaves it next to empty, and a plan made then would go through the whole chain's open orders for every
-- store once the morning comes. Reads each month's orders once, and nobody else gets at them meanwhile.
drop index orders_open_since;
create index orders_open_since on orders (id) where open and id is not null;

-- +goose Down

drop index orders_open_since;
create index orders_open_since on orders (id) where open;
