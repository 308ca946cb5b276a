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
  actor text collate "C",
  context jsonb,
  db_user text not null,
  db_role text,
  application_name text
) partition by range (at);

-- Every index is paid by every write, so here is what serves the readers at least cost; src/rowcall/bench/README.md has the figures.
--   seq, xid  the listener's way through the log: they grow at their ends only
--   key, next_key  one row's history: predicate "key @> K or next_key @> K", and "key = K or next_key = K" to be exact. A btree on a
--     hash of the key is written at a random place for each event, +20 to +40 % for statements over many rows, and its expression is made
--     ready anew in each transaction. GIN keeps what is new in a list at its end and merges it in bulk: the listener does, outside of
--     writers' transactions, see merge_index_v1, else autovacuum. At 4 MB of the list, some 200,000 events that readers go through in 7 ms, a
--     writer does, in 0.3 s. No key is too long for it.
--   actor  one actor's newest events; writers without an actor pay nothing. An actor too long for an index must not fail a
--     write: predicate "actor = A and (octet_length(A) > 1000 or octet_length(actor) <= 1000)".
--   truncates  where a table was emptied, which whoever asks how it was has to know
-- There is none on relation, as most logs are of few tables, nor on at, the partition's bounds.
create index event_seq_index on rowcall.event (seq);
create index event_xid_index on rowcall.event (xid);
create index event_key_index on rowcall.event using gin (key jsonb_path_ops) with (gin_pending_list_limit = 4096);
create index event_next_key_index on rowcall.event using gin (next_key jsonb_path_ops) with (gin_pending_list_limit = 4096)
  where next_key is not null;
create index event_actor_index on rowcall.event (actor, seq) where octet_length(actor) <= 1000;
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
