-- What validation did not like, by outcome:
--   refused    a write that did not happen; recorded by a transaction of the gate's own, because the writer's rolls back
--   warned     a write that breaks a rule which only warns; recorded in the writer's own transaction, so it is there if the write is
--   committed  an event that an after-handler rejected, whose seq it has; recorded with the delivery's cursor
-- old and new are null where they would be too long to keep, and for committed events, which the log has.
-- reason is what made it, short enough for an index.
create table rowcall.rejection (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  outcome text not null default 'refused' check (outcome in ('refused', 'warned', 'committed')),
  seq bigint,
  xid xid8,
  relation integer not null,
  operation rowcall.operation not null,
  key jsonb,
  old jsonb,
  new jsonb,
  rule text,
  handler text,
  reason text generated always as (left(coalesce(rule, handler), 200)) stored,
  message text not null,
  column_name text,
  actor text,
  context jsonb,
  db_user text,
  db_role text,
  application_name text
);

-- For the limit: how many there are already of one kind in the last minute.
create index rejection_recent_index on rowcall.rejection (relation, reason, db_user, at);

-- For those of a time.
create index rejection_at_index on rowcall.rejection (at);

-- How many more there were than are recorded one by one, see record_rejection_v1. Of refused writes there are a few rows for
-- each minute, told apart by shard so that sessions hardly ever meet at one; room on the page lets their updates stay on it.
-- Of warned writes there is one row each, without shard: a counter would be locked until the writer commits.
create table rowcall.rejection_tally (
  minute timestamptz not null,
  relation integer not null,
  rule text,
  handler text,
  reason text generated always as (left(coalesce(rule, handler), 200)) stored,
  outcome text not null,
  db_user text not null,
  shard smallint,
  suppressed bigint not null default 1,
  last_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create unique index rejection_tally_index on rowcall.rejection_tally (relation, reason, db_user, minute, shard)
  where shard is not null;

grant select, insert on rowcall.rejection to rowcall_gate;
grant select, insert, update (suppressed, last_at) on rowcall.rejection_tally to rowcall_gate;
