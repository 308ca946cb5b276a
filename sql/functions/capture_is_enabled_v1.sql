-- Whether all capture triggers of a relation fire for ordinary sessions.
-- Called by: watch_v1, rowcall watches.
create function rowcall.capture_is_enabled_v1(relation_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not exists (
    select from rowcall.capture_tables_v1(relation_id) as c join pg_trigger as t on t.tgrelid = c.table_oid
    where t.tgname ~ '^0[01]_rowcall_' and t.tgenabled not in ('O', 'A'))
$$;
