-- The one column that a rule speaks of, by what PostgreSQL noted when it made the trigger; null if it is none or several.
-- Called by: refuse_N, warn_N. Cost: only where a rule is broken.
create function rowcall.rule_column_v1(table_oid oid, trigger_name name) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select min(a.attname::text)
  from pg_trigger as t
  join pg_depend as d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid and d.refclassid = 'pg_class'::regclass
    and d.refobjid = t.tgrelid
  join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid and a.attnum > 0
  where t.tgrelid = table_oid and t.tgname = trigger_name
  having count(distinct a.attname) = 1
$$;
