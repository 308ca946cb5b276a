-- The condition under which a row's columns are not those that code was generated for: another number, or another type. Such
-- code leaves the row to the generic code. Not a matter of taste: to_json of a type that a table's owner makes runs the cast
-- to json that came with it, with the rights of the function that calls it, so code made for a built-in type must not see
-- another one; and no event trigger is there early enough for a function that runs in the middle of an ALTER TABLE.
-- By number, since a name can be given to another type. Columns are counted by a comparison that fails where the numbers
-- differ; not of virtual columns, which cannot be asked for, nor of partitions, whose columns stand in orders of their own: code
-- for those names every column it reads.
-- Called by: the generators, where planned_v1 says no. Cost at run time: 0.07 µs a column, and some 0.5 µs a column in a
-- transaction of one row.
create function rowcall.misfit_v1(table_oid oid, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('pg_catalog.pg_typeof(%s.%I) operator(pg_catalog.<>) %s', row_name, a.attname, a.atttypid), ' or '
      order by a.attnum) filter (where a.attgenerated <> 'v')
    || case when c.relkind = 'p' or bool_or(a.attgenerated = 'v') then ''
      else format(' or not pg_catalog.record_image_eq(%1$s.*, row(%2$s))', row_name,
        string_agg(format('%s.%I', row_name, a.attname), ', ' order by a.attnum)) end
  from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.oid = table_oid
  group by c.relkind
$$;
