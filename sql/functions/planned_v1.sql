-- Whether a table has these columns, by number, with null for one that was dropped, and no other. Sees the table as it is, see
-- planned_v1: one command adds columns one behind the other, so of those that it added the first would show. And as this
-- transaction sees it, which of several commands may show more.
-- Immutable only in that a plan is made anew when a table gets other columns.
create function rowcall.has_columns_v1(watched regclass, names name[]) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (
    select from unnest(names || null::name) with ordinality as n (name, number)
    where (has_column_privilege(watched, number::int2, 'select') is null) <> (name is null)
      -- An error for a name that is not there.
      or has_column_privilege(watched, name::text, 'select') is null and name is not null)
    and not exists (select from pg_attribute where attrelid = watched and attnum > cardinality(names) and not attisdropped);
exception when undefined_column then
  return false;
end $$;

-- Whether code for a table may be checked against it when PostgreSQL plans that code, by has_columns_v1 and planned_types_v1: then
-- the check costs nothing at run time. That holds where the event trigger generates the code anew after every DDL, so that only
-- what one command does is left to find, and where this transaction sees the table as it is: a query of the catalog sees it as it
-- was when a transaction of isolation level REPEATABLE READ began, a question for the right on a column does not.
-- Called by: the generators.
create function rowcall.planned_v1(table_oid oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select (select relkind = 'r' from pg_class where oid = table_oid)
    and exists (select from pg_event_trigger where evtname = 'rowcall_follow_ddl' and evtenabled in ('O', 'A'))
    -- Of as many columns as a table can have.
    and rowcall.has_columns_v1(table_oid, (
      select array_agg(a.attname order by n.number)
      from generate_series(1, 1600) as n (number)
      left join pg_attribute as a on a.attrelid = table_oid and a.attnum = n.number and not a.attisdropped))
$$;

-- The expression that asks, when it is planned, whether the table has the columns that it has now, and no other.
-- Where it is false, an expression that names a column need not be one that can be parsed.
-- Called by: the generators.
create function rowcall.planned_columns_v1(table_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('rowcall.has_columns_v1(%L::pg_catalog.regclass, %L)', table_oid,
    array_agg(case when not attisdropped then attname end order by attnum))
  from pg_attribute
  where attrelid = table_oid and attnum > 0
$$;

-- The expression that asks, when it is planned, whether the columns have the types that they have now; row is new, old or a
-- transition table. Of a CASE that never comes true only the type is left when constants are folded, and a call of what is
-- called immutable becomes what it returns. A plan is made anew, types included, with every change of a table that a constant of type
-- regclass names. A domain counts as what it is over, as a CASE makes it.
-- Called by: the generators.
create function rowcall.planned_types_v1(table_oid oid, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('%L::pg_catalog.regclass is not null', table_oid)
    || string_agg(format(' and rowcall.is_of_v1(case when false then %s.%I end, %s)', row_name, attname,
      (rowcall.base_type_v1(atttypid)).oid), '' order by attnum)
  from pg_attribute
  where attrelid = table_oid and attnum > 0 and not attisdropped and attgenerated <> 'v'
$$;

-- Immutable only in that a value cannot change its type.
create function rowcall.is_of_v1(value anyelement, type_oid oid) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_typeof(value) = type_oid;
end $$;
