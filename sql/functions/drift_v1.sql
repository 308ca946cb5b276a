-- The condition under which generated code may not touch a value, because its column has another type by now.
-- Not a matter of taste: to_jsonb of a type that a table's owner makes runs the cast to json that came with it, with the
-- rights of the function that calls it, so code made for a built-in type must not see another one. By number, since a name can
-- be given to another type.
-- Called by: guarded_v1, image_expression_v1. Cost at run time: 0.02 µs a column.
create function rowcall.drift_v1(value text, type_oid oid) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('pg_catalog.pg_typeof(%s) operator(pg_catalog.<>) %s', value, type_oid)
$$;

-- Fails in the place of an expression that drift_v1 keeps from its value, so that the generic code takes over. Of the type that
-- the CASE around it asks for; volatile, lest the planner calls it.
create function rowcall.drifted_v1(instead anyelement) returns anyelement
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'a column has another type than when this code was generated';
end $$;

-- An expression over a value, but not if its type is another one by now; instead is harmless and of the expression's type.
-- Where the event trigger sees to it that no column has another type, see follows_ddl_v1, the expression alone.
create function rowcall.guarded_v1(value text, type_oid oid, instead text, expression text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when rowcall.follows_ddl_v1() then expression else format('case when %s then rowcall.drifted_v1(%s) else %s end', rowcall.drift_v1(value, type_oid), instead, expression) end
$$;
