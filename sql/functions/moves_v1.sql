-- Partition moves as one update event. An UPDATE that moves a row to another partition reaches row triggers as a DELETE and an
-- INSERT. Statement triggers of partitioned tables note which statement is running; while it is an UPDATE, capture holds a
-- DELETE back until the INSERT beside it comes. If none comes (a BEFORE trigger suppressed it), it is logged as a delete.
-- The setting is only a hint that anybody may set: what it can do wrong is delay a delete to the end of its statement.
-- A MERGE that also deletes is logged as a delete and an insert.

-- Called by: statement triggers before changes of partitioned tables and their partitions.
create function rowcall.enter_statement_v1() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('rowcall.statements',
    coalesce(current_setting('rowcall.statements', true), '') || lower(left(tg_op, 1)), true);
  return null;
end $$;

-- Argument: the relation's id. Called by: statement triggers after them.
create function rowcall.leave_statement_v1() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('rowcall.statements', left(coalesce(current_setting('rowcall.statements', true), ''), -1), true);
  perform rowcall.flush_move_v1(tg_argv[0]::integer);
  return null;
end $$;

-- Logs a held back delete, if there is one.
create function rowcall.flush_move_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved record;
begin
  delete from rowcall.moving where xid = pg_current_xact_id_if_assigned() and relation = relation_id
    returning moved_key, moved_old into v_moved;
  if found then
    perform rowcall.log_event_v1(nextval('rowcall.event_seq'), relation_id, 'delete', v_moved.moved_key, v_moved.moved_old);
  end if;
end $$;

-- The part of an image that another one says differently, as an update would have stored it. By text, because 1.0 and 1.00 are
-- equal in jsonb; by the text that an image holds of what JSON does not, see loss_v1; and by the hash of what there is no room
-- for. Values that are too long even for that may be equal or not.
create function rowcall.differing_v1(old jsonb, new jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(key, value), '{}')
    || case when count(exact) + count(omitted) = 0 then '{}' else jsonb_build_object('', jsonb_strip_nulls(jsonb_build_object(
      'exact', jsonb_object_agg(key, exact) filter (where exact is not null),
      'omitted', jsonb_object_agg(key, omitted) filter (where omitted is not null)))) end
  from jsonb_each(old - '')
  cross join lateral (select old #> array['', 'exact', key], new #> array['', 'exact', key],
    old #> array['', 'omitted', key], new #> array['', 'omitted', key]) as notes (exact, exact_new, omitted, omitted_new)
  where (value::text, exact, omitted) is distinct from ((new -> key)::text, exact_new, omitted_new) or omitted = '"too long"'
$$;
