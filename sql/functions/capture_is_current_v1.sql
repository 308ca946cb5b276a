-- Whether a watched relation's capture is in place and generated from the table as it is now.
-- Called by: watch_v1, rowcall watches, rowcall sync --check.
create function rowcall.capture_is_current_v1(relation_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select obj_description(t.tgfoid, 'pg_proc') = md5(rowcall.capture_definition_v1(relation_id))
    from rowcall.relation as r
    join pg_trigger as t on t.tgrelid = r.oid and t.tgname = '00_rowcall_capture' and t.tgenabled <> 'D'
    where r.id = relation_id and r.dropped_at is null), false)
$$;
