-- The WHEN clause of a capture trigger: what the watch's options "columns" and "when" say about this operation. A condition
-- that speaks of a row the operation does not have (old of an insert, new of a delete) does not apply to it.
-- Names in "when" are resolved as in schema pg_catalog: whoever alters the table later cannot bend them.
-- Called by: capture_triggers_v1.
create function rowcall.capture_when_v1(table_oid oid, options jsonb, operation text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
  select coalesce('when (' || string_agg(condition, ' and ') || ')', '')
  from (
    select '(' || string_agg(rowcall.difference_v1(c.name, c.type_oid), ' or ') || ')' as condition
    from rowcall.columns_v1(table_oid, '{}') as c
    where operation = 'update' and rowcall.means_v1(table_oid, options, 'columns', c.name, (
      select attnum from pg_attribute where attrelid = table_oid and attname = c.name))
    union all
    select format('(%s)', options ->> 'when')
    where options ? 'when'
      and not (operation = 'insert' and options ->> 'when' ~* '\mold\s*\.')
      and not (operation = 'delete' and options ->> 'when' ~* '\mnew\s*\.')
  ) as conditions
  where condition is not null
$$;
