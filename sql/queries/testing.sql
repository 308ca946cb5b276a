-- Delivering the events of a test: rowcall.testing.

-- name: start
-- Where a delivery starts: what this snapshot does not see comes after it. A snapshot leaves out the transaction it is taken
-- in, so of that one the last seq counts.
select pg_current_snapshot()::text as snapshot, own.xid::text as xid,
  coalesce((select max(e.seq) from rowcall.event as e where e.xid = own.xid), 0) as seq
from (select pg_current_xact_id_if_assigned() as xid) as own;

-- name: pending
-- What a handler is still to be told, of what this transaction sees: its own events as well.
select e.seq, e.xid::text::bigint, e.at, e.relation, e.operation::text, e.key, e.next_key, e.old, e.new, e.actor, e.context
from rowcall.event as e
where case when e.xid = %(xid)s::xid8 then e.seq > %(seq)s
      else not pg_visible_in_snapshot(e.xid, %(snapshot)s::pg_snapshot) end
  and e.relation = any (array(
    select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
  and e.operation = any (%(operations)s::rowcall.operation[])
  and not rowcall.of_backfill_v1(e.operation, e.context)
  and not exists (select from unnest(%(delivered)s::bigint[]) as d (seq) where d.seq = e.seq)
order by e.seq;

-- name: noted
-- How many calls have happened, as far as the transaction knows: null or empty if none.
select current_setting(%(setting)s, true);

-- name: note
-- A setting, unlike a variable of Python's, goes back to what it was when the transaction, or a part of it, is rolled back.
select set_config(%(setting)s, %(calls)s::text, false);

-- name: disown
-- A handler's transaction is its own: it does not inherit who acts in the test's. OFFSET 0 has that read before it is cleared.
select before.actor, before.context::text, rowcall.act(null)
from (
  select nullif(current_setting('rowcall.actor', true), '') as actor,
    nullif(current_setting('rowcall.context', true), '')::jsonb as context
  offset 0
) as before;

-- name: fulfils
-- Whether rows fulfil a before-handler's condition, as its trigger would ask it; {condition} is SQL of the app's.
select ({condition}
) is true
from jsonb_populate_record(null::{table}, {old}::jsonb) as old, jsonb_populate_record(null::{table}, {new}::jsonb) as new;
