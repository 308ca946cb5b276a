-- The one column that a rule speaks of, by what PostgreSQL noted when it made the trigger, or its function; null if it is none or
-- several.
-- Called by: refuse_N, warn_N. Cost: only where a rule is broken.
create function rowcall.rule_column_v1(table_oid oid, trigger_name name) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive parts as (
    select 'pg_trigger'::regclass::oid as class, oid from pg_trigger where tgrelid = table_oid and tgname = trigger_name
    union
    select 'pg_proc'::regclass, d.refobjid
    from parts as p join pg_depend as d on d.classid = p.class and d.objid = p.oid
    where p.class = 'pg_trigger'::regclass and d.refclassid = 'pg_proc'::regclass
  )
  select min(a.attname::text)
  from parts as p
  join pg_depend as d on d.classid = p.class and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
  join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid and a.attnum > 0
  where d.refobjid = table_oid or d.refobjid in (select relid from pg_partition_ancestors(table_oid))
  having count(distinct a.attname) = 1
$$;
