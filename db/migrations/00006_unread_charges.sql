-- +goose Up

-- A charge that the provider could not be asked about holds nothing else back: it is open until it could.
alter table payment_differences
    drop constraint payment_differences_kind_check,
    add constraint payment_differences_kind_check check (kind in ('charge_without_order', 'order_without_charge', 'charge_not_settled', 'charge_not_read',
        'amount_differs', 'refund_without_record', 'refund_missing'));

-- +goose Down
delete from payment_differences where kind = 'charge_not_read';
alter table payment_differences
    drop constraint payment_differences_kind_check,
    add constraint payment_differences_kind_check check (kind in ('charge_without_order', 'order_without_charge', 'charge_not_settled', 'amount_differs', 'refund_without_record', 'refund_missing'));
