-- Whether a trigger is there and made by this statement. A disabled one is: its table's owner wanted that, and watches tells.
-- CREATE OR REPLACE TRIGGER keeps the comment, but nobody else can make a trigger of our functions.
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.trigger_is_current_v1(table_oid oid, name text, statement text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
    where t.tgrelid = table_oid and t.tgname = trigger_is_current_v1.name
      and obj_description(t.oid, 'pg_trigger') = md5(statement)
      and p.pronamespace = 'rowcall'::regnamespace and position('rowcall.' || p.proname || '(' in statement) > 0)
$$;
