-- How inserts of a table are captured: 'statement' from transition tables, which spares bulk statements most of
-- the cost, or 'row'. Statement level only where it cannot change the order of events: a plain table outside any
-- inheritance, no other AFTER ROW trigger (its nested changes would draw their seqs first), no cascade onto itself, no
-- condition on rows; and only where the event trigger sees to it that a trigger added later brings the row level back.
-- Nor where a table with a foreign key onto this one has such a trigger: one WITH may insert an order and its items, and the items'
-- trigger add up the order's total before the statement that inserted the order has ended.
-- Updates are always captured by row: pairing old with new rows costs what the statement level saves. So are deletes: a MERGE or
-- a WITH may delete a key and write it again in one command, and triggers by statement fire after those by row.
-- Called by: capture_triggers_v1.
create function rowcall.capture_mode_v1(table_oid oid, options jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when c.relkind = 'r' and not c.relispartition and not c.relhassubclass
      and not options ? 'when' and not coalesce((options ->> 'notify')::boolean, false)
      and not exists (select from pg_inherits where inhrelid = table_oid)
      and not exists (select from pg_trigger as t where not t.tgisinternal
                      and (t.tgrelid = table_oid
                        or t.tgrelid in (select conrelid from pg_constraint where contype = 'f' and confrelid = table_oid))
                      and t.tgtype & 1 = 1 and t.tgtype & 2 = 0 and t.tgtype & 64 = 0
                      and t.tgname not like '00\_rowcall\_%'
                      -- Rules only look.
                      and t.tgfoid not in (select oid from pg_proc where pronamespace = 'rowcall'::regnamespace
                                           and proname ~ '^(refuse|warn)_[0-9]+$'))
      and not exists (select from pg_constraint where contype = 'f' and conrelid = table_oid and confrelid = table_oid
                      and (confdeltype <> 'a' and confdeltype <> 'r' or confupdtype <> 'a' and confupdtype <> 'r'))
      and exists (select from pg_event_trigger where evtname = 'rowcall_follow_ddl' and evtenabled in ('O', 'A'))
    then 'statement' else 'row' end
  from pg_class as c where c.oid = table_oid
$$;
