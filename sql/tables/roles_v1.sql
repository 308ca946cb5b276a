-- Roles of the cluster that own what must run with more rights than a writer has.
-- rowcall_capture owns the capture functions: it may append to the log and nothing else.
-- rowcall_gate owns the gate functions: it may use the gate's connection and its requests, nothing else.
-- Roles belong to the cluster, so another database's Rowcall may have made them already.
-- Ran by: migration rowcall_0001.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['rowcall_capture', 'rowcall_gate'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
      begin
        execute format('create role %I nologin', v_role);
      exception when duplicate_object or unique_violation then
        null; -- another database's migration was faster
      end;
    end if;
  end loop;
  -- ALTER FUNCTION … OWNER TO asks the installing role to be a member of the new owner.
  if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    execute format('grant rowcall_capture, rowcall_gate to %I', current_user);
  end if;
end $$;

grant usage on schema rowcall to public;
-- For the length of the installation: a function's new owner needs CREATE on its schema. lock_down_v1 takes it back.
grant create on schema rowcall to rowcall_capture, rowcall_gate;
