-- Hands a generated function to the role whose rights it needs and takes EXECUTE from everybody else: a trigger's
-- function is checked when the trigger is made, so writers need no right on it.
-- A new owner needs CREATE on the schema at that moment, and only then.
-- Called by: the generators.
create function rowcall.give_function_v1(signature text, owner text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant create on schema rowcall to %I', owner);
  execute format('alter function %s owner to %I', signature, owner);
  execute format('revoke create on schema rowcall from %I', owner);
  execute format('revoke execute on function %s from public', signature);
end $$;
