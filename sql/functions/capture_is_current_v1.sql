-- Whether a watched relation's capture is in place and generated from the table as it is now.
-- Called by: watch_v1, refresh_v1, rowcall watches, rowcall sync --check.
create function rowcall.capture_is_current_v1(relation_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from rowcall.relation as r
                 join pg_class as c on c.oid = r.oid join pg_namespace as n on n.oid = c.relnamespace
                 where r.id = relation_id and r.dropped_at is null
                   and r.table_name = c.relname and r.schema_name = n.nspname)
    and obj_description(to_regproc('rowcall.capture_' || relation_id), 'pg_proc')
      = md5(rowcall.capture_definition_v1(relation_id))
    and obj_description(to_regproc('rowcall.capture_bulk_' || relation_id), 'pg_proc')
      = md5(rowcall.capture_bulk_definition_v1(relation_id))
    and obj_description(to_regproc('rowcall.capture_rows_' || relation_id), 'pg_proc')
      = md5(rowcall.capture_rows_definition_v1(relation_id))
    and not exists (select from rowcall.stale_triggers_v1(relation_id))
    and not exists (select from rowcall.capture_triggers_v1(relation_id) as w
                    where not rowcall.trigger_is_current_v1(w.table_oid, w.name, w.statement))
$$;
