-- The condition under which a row's columns are not those that code was generated for: another number, or another type. Such
-- code leaves the row to the generic code. Not a matter of taste: to_json of a type that a table's owner makes runs the cast
-- to json that came with it, with the rights of the function that calls it, so code made for a built-in type must not see
-- another one; and no event trigger is there early enough for a function that runs in the middle of an ALTER TABLE.
-- By number, since a name can be given to another type. Columns are counted by a comparison that fails where the numbers
-- differ; not of virtual columns, which cannot be asked for, nor of partitions, whose columns stand in orders of their own: code
-- for those names every column it reads.
-- Called by: the generators. Cost at run time: 0.07 µs a column, and some 0.5 µs a column in a transaction of one row.
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

-- The same for a transition table, answered when PostgreSQL plans the query: of a CASE that never comes true only the type is left
-- when constants are folded, and a plan is made anew with every change of its tables. So it costs nothing at run time.
-- The other way round: true where the types fit. A domain counts as what it is over, as a CASE makes it.
-- Called by: capture_bulk_definition_v1.
create function rowcall.planned_fit_v1(table_oid oid, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('rowcall.is_of_v1(case when false then %s.%I end, %s)', row_name, attname,
      (rowcall.base_type_v1(atttypid)).oid), ' and ' order by attnum) filter (where attgenerated <> 'v')
    || format(' and rowcall.has_columns_v1(%s, %s)', table_oid, count(*))
  from pg_attribute
  where attrelid = table_oid and attnum > 0 and not attisdropped
$$;

-- Immutable only in that a value cannot change its type.
create function rowcall.is_of_v1(value anyelement, type_oid oid) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_typeof(value) = type_oid;
end $$;

-- Immutable only in that a plan is made anew when a table gets other columns.
create function rowcall.has_columns_v1(table_oid oid, columns bigint) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select columns = (select count(*) from pg_attribute where attrelid = table_oid and attnum > 0 and not attisdropped)
$$;
