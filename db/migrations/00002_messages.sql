-- +goose Up

alter table staff
    add column email text check (email ~ '^[^\s[:cntrl:]@"<>(),;:\\\[\]]{1,64}@[^\s[:cntrl:]@"<>(),;:\\\[\]]{1,189}$');

create table password_resets (
    staff_id   int4 primary key references staff,
    id         uuid not null unique,
    created_at timestamptz not null default now(),
    used_at    timestamptz
);
comment on table password_resets is 'The latest request of a member of staff for a new password; asking again replaces it. Its code is derived from the id and the password of before, and is not kept.';

create table campaigns (
    id         uuid primary key,
    text       text not null check (length(text) between 1 and 500),
    created_at timestamptz not null default now()
);
comment on table campaigns is 'What was announced to everybody who wants news.';

-- A walk over the subscribers needs a place to go on from that says nothing of them: jobs hold ids only.
alter table notification_preferences add column id int8 generated always as identity;
create unique index notification_preferences_subscribers on notification_preferences (id) where kind = 'marketing' and allowed;

-- +goose Down
drop index notification_preferences_subscribers;
alter table notification_preferences drop column id;
drop table campaigns, password_resets;
alter table staff drop column email;
