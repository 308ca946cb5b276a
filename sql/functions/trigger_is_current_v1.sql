-- Whether a trigger is there and made by this statement. A disabled one is: its table's owner wanted that, and watches tells.
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.trigger_is_current_v1(table_oid oid, name text, statement text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_trigger as t
    where t.tgrelid = table_oid and t.tgname = trigger_is_current_v1.name
      and obj_description(t.oid, 'pg_trigger') = md5(statement))
$$;
