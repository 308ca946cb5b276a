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
    select '(' || string_agg(rowcall.difference_v1(attname::text, atttypid), ' or ') || ')' as condition
    from pg_attribute
    where operation = 'update' and attrelid = table_oid and attnum > 0 and not attisdropped and attgenerated <> 'v'
      and rowcall.means_v1(table_oid, options, 'columns', attname::text, attnum)
    union all
    select format('(%s)', options ->> 'when')
    where options ? 'when'
      and not (operation = 'insert' and options ->> 'when' ~* '\mold\s*\.')
      and not (operation = 'delete' and options ->> 'when' ~* '\mnew\s*\.')
  ) as conditions
  where condition is not null
$$;
