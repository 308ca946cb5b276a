-- The log: one row per change of a watched row, append-only, the queue and the audit trail at once.
-- Public columns: seq, xid, at, operation, key, old, new, actor, context.
--   seq   order; drawn while the row's lock is held, so two changes of one row have their true order
--   xid   the top-level transaction, the unit in which readers see events
--   key   the row's key before the change (after it, for an insert); null for a truncate
--   next_key  the key after the change, only where an update changed it
--   old   whole for a delete; for an update only the columns that differ, with their old values
--   new   whole
--   old and new are json, not jsonb: half the cost to write, nothing to read; cast them where jsonb's operators are needed
--   db_user, db_role, application_name  what the database knows, beside what actor and context claim
-- Partitioned by time. The first partition reaches to the beginning of time and the last to its end, so
-- an event always has a place without a DEFAULT partition (which would forbid DETACH CONCURRENTLY).
create type rowcall.operation as enum ('insert', 'update', 'delete', 'truncate', 'snapshot');

-- CACHE 1: a cached range would hand two sessions numbers that lie about their order.
create sequence rowcall.event_seq as bigint cache 1;

create table rowcall.event (
  seq bigint not null,
  xid xid8 not null,
  at timestamptz not null,
  relation integer not null,
  operation rowcall.operation not null,
  key jsonb,
  next_key jsonb,
  old json,
  new json,
  actor text,
  context jsonb,
  db_user text not null,
  db_role text,
  application_name text
) partition by range (at);

create index event_seq_index on rowcall.event (seq);
create index event_xid_index on rowcall.event (xid);
-- What nearly no event is in: where a table was emptied.
create index event_truncate_index on rowcall.event (relation, seq) where operation = 'truncate';

grant insert on rowcall.event to rowcall_capture;
grant usage on sequence rowcall.event_seq to rowcall_capture;

-- Rows on their way between partitions, between the delete and the insert that PostgreSQL makes of such an update: never
-- older than the statement, so never seen by anybody else.
create unlogged table rowcall.moving (
  xid xid8 not null,
  relation integer not null,
  moved_key jsonb,
  moved_old jsonb,
  primary key (xid, relation)
);
grant select, insert, delete on rowcall.moving to rowcall_capture;
