-- Gives the gate its connection: the extension, a foreign server, the login's credentials in a user mapping that only
-- rowcall_gate can use, and the login's rights: to submit requests and await the answers to its own, nothing else.
-- server: the connection's options without user and password.
-- dblink comes into schema rowcall unless it is installed already; ours is closed to everybody but the gate.
-- Called by: rowcall migrate --gate-dsn.
create function rowcall.configure_gate_v1(server jsonb, login text, password text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_options text;
  v_function regprocedure;
begin
  if not exists (select from pg_extension where extname = 'dblink') then
    create extension dblink schema rowcall;
    for v_function in
      select p.oid from pg_proc as p
      join pg_depend as d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
      join pg_extension as e on e.oid = d.refobjid and e.extname = 'dblink'
    loop
      execute format('revoke execute on function %s from public', v_function);
      execute format('grant execute on function %s to rowcall_gate', v_function);
    end loop;
  end if;
  drop server if exists rowcall_gate cascade;
  select string_agg(format('%I %L', key, value), ', ') into v_options from jsonb_each_text(server);
  execute format('create server rowcall_gate foreign data wrapper dblink_fdw options (%s)', v_options);
  execute format('create user mapping for rowcall_gate server rowcall_gate options (user %L, password %L)', login, password);
  grant usage on foreign server rowcall_gate to rowcall_gate;
  execute format('grant execute on function rowcall.gate_submit_v1(jsonb), rowcall.gate_verdict_v1(bigint),
    rowcall.gate_finish_v1(bigint, jsonb, jsonb), rowcall.gate_record_v1(jsonb), rowcall.gate_unanswered_v1(jsonb) to %I', login);
  execute format('grant execute on procedure rowcall.gate_ask_v1(jsonb, jsonb), rowcall.gate_refuse_v1(jsonb, jsonb) to %I', login);
  perform rowcall.install_ask_v1();
end $$;
