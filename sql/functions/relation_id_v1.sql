-- The id of a table in the log, made at first sight. A table that was dropped and made again, or restored into another
-- cluster, comes back under its name to the history it had.
-- Called by: watch_v1, guard_v1.
create function rowcall.relation_id_v1(table_oid oid) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_table text;
  v_id integer;
begin
  select n.nspname, c.relname into strict v_schema, v_table
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = table_oid;
  -- A row whose OID is this table's under another name is this table renamed, unless a restore gave the number away.
  update rowcall.relation as r set schema_name = v_schema, table_name = v_table
    where r.oid = table_oid and r.dropped_at is null
      and not exists (select from rowcall.relation as other where other.schema_name = v_schema
                      and other.table_name = v_table and other.dropped_at is null)
    returning id into v_id;
  if v_id is not null then
    return v_id;
  end if;
  select id into v_id from rowcall.relation
    where schema_name = v_schema and table_name = v_table
    order by dropped_at desc nulls first limit 1;
  if v_id is null then
    insert into rowcall.relation (oid, schema_name, table_name) values (table_oid, v_schema, v_table)
      returning id into v_id;
  else
    update rowcall.relation set oid = table_oid, dropped_at = null where id = v_id;
  end if;
  return v_id;
end $$;
