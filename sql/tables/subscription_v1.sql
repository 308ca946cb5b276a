-- A named reader of the log and how far it has read: events visible in "upper" and not in "lower", a window, in seq order;
-- "last_seq" says how much of it is delivered. "upper" is null between windows.
--   ready  false while its backfill is not complete: until then nobody reads for it
create table rowcall.subscription (
  id integer generated always as identity primary key,
  name text not null unique,
  declared_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  ready boolean not null default true
);

-- How far a set of lanes has read. A lane is a sixteenth of a subscription's keys, see functions/lane_v1.sql; lanes at one place
-- of one worker share a row, so that one worker with all of them writes one row a slice.
--   lower, upper, last_seq  the window
--   number  how many windows were opened: the lanes of a subscription walk through the same windows, so an event of two
--           lanes has one place for both
--   stage, stage_seq, stage_until  a stretch of the log, behind stage_seq and up to stage_until, that is read in seq order
--           before the windows go on: the rows of a backfill; what a person wants delivered again; what was not yet
--           delivered when the log was restored in another cluster
--   restored_seq, restored_until  such a stage that follows this one, if restored_until is not 0: the restore came in the middle
--   owner, epoch  the worker that reads on, and how often that changed: what a replaced one still tries to commit says an older epoch
create type rowcall.stage as enum ('backfill', 'replay', 'restored');

create table rowcall.cursor (
  id integer generated always as identity primary key,
  subscription integer not null references rowcall.subscription on delete cascade,
  lanes smallint[] not null,
  lower pg_snapshot not null,
  upper pg_snapshot,
  last_seq bigint not null default 0,
  number bigint not null default 0,
  stage rowcall.stage,
  stage_seq bigint not null default 0,
  stage_until bigint not null default 0,
  restored_seq bigint not null default 0,
  restored_until bigint not null default 0,
  delivered bigint not null default 0,
  owner integer,
  epoch integer not null default 0,
  check (cardinality(lanes) > 0)
) with (fillfactor = 50);
create index cursor_subscription on rowcall.cursor (subscription);

-- The windows that some lanes of a subscription have opened and others have yet to: kept only while its lanes are apart.
create table rowcall.window (
  subscription integer not null references rowcall.subscription on delete cascade,
  number bigint not null,
  upper pg_snapshot not null,
  primary key (subscription, number)
);

-- Who delivers: a row for each subscription of each listening process. It is alive while it is seen and its session holds the
-- lock with its id; what it leaves behind when it dies is taken over.
--   lanes  how many it takes at most
--   process  names the process, also after it connected anew
--   pid, backend_start  the server's process that delivers
create table rowcall.worker (
  id integer generated always as identity primary key,
  subscription integer not null references rowcall.subscription on delete cascade,
  lanes smallint not null default 16,
  process text not null,
  pid integer not null,
  backend_start timestamptz not null,
  seen_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Events that were being handled when their process died: written before each call, only for a while after a death.
--   tries  how often; error  why the process gave itself up, if it did
create table rowcall.suspect (
  subscription integer not null references rowcall.subscription on delete cascade,
  seq bigint not null,
  process text not null,
  tries integer not null default 1,
  error text,
  primary key (subscription, seq)
);

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
