-- Capture triggers that a relation does not need any more: of other options, renamed by somebody (each row would be captured
-- twice), or left on a partition that was detached
-- (PostgreSQL takes away the row triggers it cloned, not statement triggers).
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.stale_triggers_v1(relation_id integer) returns table (name name, table_oid oid)
language sql stable rows 10
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
  select t.tgname, t.tgrelid
  from rowcall.capture_tables_v1(relation_id) as c
  join pg_trigger as t on t.tgrelid = c.table_oid
  join pg_proc as p on p.oid = t.tgfoid
  where (t.tgname ~ '^0[01]_rowcall_'
      or p.pronamespace = 'rowcall'::regnamespace and p.proname ~ '^(capture|enter|leave|announce|forbid)_')
    and not t.tgisinternal and t.tgparentid = 0
    and not exists (select from rowcall.capture_triggers_v1(relation_id) as w
                    where w.name = t.tgname and w.table_oid = t.tgrelid)
$$;
