-- A named reader of the log and how far it has read. The cursor is a window: events visible in "upper" and not in
-- "lower", in seq order; "last_seq" says how much of the window is delivered. "upper" is null between windows.
create table rowcall.subscription (
  id integer generated always as identity primary key,
  name text not null unique,
  declared_by text not null,
  created_at timestamptz not null default clock_timestamp()
);

create table rowcall.cursor (
  subscription integer primary key references rowcall.subscription on delete cascade,
  lower pg_snapshot not null,
  upper pg_snapshot,
  last_seq bigint not null default 0,
  delivered bigint not null default 0
) with (fillfactor = 50);

-- Events a subscription set aside: the head of a key waits for its retry, later events of the key wait behind it.
-- key and next_key as in the log: an event that changed its row's key is one of both; a truncate, without a key, is one
-- of every key of its table.
create table rowcall.parked (
  subscription integer not null references rowcall.subscription on delete cascade,
  seq bigint not null,
  relation integer not null,
  key jsonb,
  next_key jsonb,
  attempts integer not null default 0,
  due_at timestamptz not null default clock_timestamp(),
  dead boolean not null default false,
  error text,
  since timestamptz not null default clock_timestamp(),
  primary key (subscription, seq)
);

-- Parked events that a person gave up for good, so that later events of their keys flow: who did it, and when.
create table rowcall.skipped (
  subscription integer not null references rowcall.subscription on delete cascade,
  seq bigint not null,
  relation integer not null,
  key jsonb,
  next_key jsonb,
  attempts integer not null,
  error text,
  since timestamptz not null,
  skipped_by text not null default session_user,
  skipped_at timestamptz not null default clock_timestamp(),
  primary key (subscription, seq)
);
