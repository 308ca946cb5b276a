-- The id of a table in the log, made at first sight. A table that was dropped and made again, or restored into another
-- cluster, comes back under its name to the history it had. One that was made anew begins there without the rows and the
-- watch of the one before: a truncate says so in the log.
-- Called by: watch_v1, guard_v1, refresh_v1.
create function rowcall.relation_id_v1(table_oid oid) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_table text;
  v_relation rowcall.relation;
  v_id integer;
begin
  select n.nspname, c.relname into strict v_schema, v_table
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = table_oid;
  -- Most often nothing has changed, and then nothing is written: whoever writes here waits for others who do.
  select id into v_id from rowcall.relation
    where oid = table_oid and schema_name = v_schema and table_name = v_table and dropped_at is null;
  if v_id is not null then
    return v_id;
  end if;
  -- The table that had this name may have another one by now without anybody having noticed. Its triggers tell it from one
  -- that a restore gave its number.
  update rowcall.relation as r set schema_name = n.nspname, table_name = c.relname
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where r.oid = c.oid and r.oid <> table_oid and r.schema_name = v_schema and r.table_name = v_table and r.dropped_at is null
      and (n.nspname <> v_schema or c.relname <> v_table)
      and exists (select from pg_trigger as t where t.tgrelid = c.oid and t.tgfoid = to_regproc('rowcall.capture_' || r.id))
      and not exists (select from rowcall.relation as other where other.schema_name = n.nspname
                      and other.table_name = c.relname and other.dropped_at is null);
  -- A row whose OID is this table's under another name is this table renamed, unless a restore gave the number away.
  update rowcall.relation as r set schema_name = v_schema, table_name = v_table
    where r.oid = table_oid and r.dropped_at is null
      and not exists (select from rowcall.relation as other where other.schema_name = v_schema
                      and other.table_name = v_table and other.dropped_at is null)
    returning id into v_id;
  if v_id is not null then
    return v_id;
  end if;
  select * into v_relation from rowcall.relation
    where schema_name = v_schema and table_name = v_table
    order by dropped_at desc nulls first limit 1;
  if not found then
    insert into rowcall.relation (oid, schema_name, table_name) values (table_oid, v_schema, v_table)
      returning id into v_id;
    return v_id;
  end if;
  update rowcall.relation set oid = table_oid, dropped_at = null where id = v_relation.id;
  if rowcall.is_another_table_v1(v_relation, table_oid) then
    delete from rowcall.watch where relation = v_relation.id;
    if found then
      perform rowcall.log_event_v1(nextval('rowcall.event_seq'), v_relation.id, 'truncate');
    end if;
  end if;
  return v_relation.id;
end $$;

-- Whether the table that a relation stood for is gone, and this one is not the same restored from a dump. Where no event
-- trigger noted the drop, a dump's table is known by the capture triggers that came with it.
create function rowcall.is_another_table_v1(relation rowcall.relation, table_oid oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select relation.dropped_at is not null
    or not exists (select from pg_class as c where c.oid = relation.oid)
    and not exists (select from pg_trigger as t where t.tgrelid = table_oid and t.tgname ~ '^0[01]_rowcall_')
$$;
