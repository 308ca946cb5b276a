-- Creates or replaces a generated capture function, unless it is there as defined.
-- Called by: install_capture_v1.
create function rowcall.install_function_v1(signature text, definition text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- The pinned settings of a function are kept as text.
set quote_all_identifiers = off
as $$
begin
  if obj_description(to_regprocedure(signature), 'pg_proc') = md5(definition) then
    return;
  end if;
  execute definition;
  execute format('comment on function %s is %L', signature, md5(definition));
  perform rowcall.give_function_v1(signature, 'rowcall_capture');
end $$;
