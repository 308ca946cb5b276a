-- Hands a generated function to the role whose rights it needs and takes EXECUTE from everybody else: a trigger's
-- function is checked when the trigger is made, so writers need no right on it.
-- Where a superuser does not ask, the new owner needs CREATE on the schema at that moment, and only then. That changes a row
-- of the catalog that everybody else who does the same would wait for, or fail at before PostgreSQL 18: hence the lock, and
-- only where it has to be.
-- Called by: the generators.
create function rowcall.give_function_v1(signature text, owner text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_asked constant boolean := not (select rolsuper from pg_roles where rolname = current_user);
begin
  if v_asked then
    perform pg_advisory_xact_lock(1383036771, 102);
    execute format('grant create on schema rowcall to %I', owner);
  end if;
  execute format('alter function %s owner to %I', signature, owner);
  if v_asked then
    execute format('revoke create on schema rowcall from %I', owner);
  end if;
  execute format('revoke execute on function %s from public', signature);
end $$;
