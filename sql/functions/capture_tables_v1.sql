-- Every table that may carry capture triggers of a relation: itself, its partitions, and what was its partition once and
-- still carries a trigger that names the relation.
-- Called by: install_capture_v1, unwatch_v1.
create function rowcall.capture_tables_v1(relation_id integer) returns table (table_oid oid)
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
  select r.oid from rowcall.relation as r where r.id = relation_id
  union
  select t.relid from rowcall.relation as r cross join lateral pg_partition_tree(r.oid) as t where r.id = relation_id
  union
  select t.tgrelid from pg_trigger as t
  where t.tgfoid = to_regproc('rowcall.leave_statement_v1') and t.tgargs = convert_to(relation_id::text, 'UTF8') || '\x00'
$$;
