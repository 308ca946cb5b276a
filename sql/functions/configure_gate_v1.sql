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
  -- What the database, its roles or its configuration say about sessions is not meant for this one: in particular
  -- a snapshot kept for a whole transaction would never see the verdict.
  v_defaults constant jsonb := jsonb_build_object('connect_timeout', '2', 'application_name', 'rowcall gate writer', 'options',
    '-c default_transaction_isolation=read\ committed -c default_transaction_read_only=off -c statement_timeout=0'
    ' -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=10min'
    || case when current_setting('server_version_num')::integer >= 170000 then ' -c transaction_timeout=0' else '' end);
  v_options text;
  v_function regprocedure;
  v_schema name;
begin
  select n.nspname into v_schema
    from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'dblink';
  if found then
    execute format('grant usage on schema %I to rowcall_gate', v_schema);
  else
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
  select string_agg(format('%I %L', key, value), ', ') into v_options from jsonb_each_text(v_defaults || server);
  execute format('create server rowcall_gate foreign data wrapper dblink_fdw options (%s)', v_options);
  execute format('create user mapping for rowcall_gate server rowcall_gate options (user %L, password %L)', login, password);
  grant usage on foreign server rowcall_gate to rowcall_gate;
  perform rowcall.let_gate_login_v1(l, false) from rowcall.gate_logins_v1() as l where l <> login;
  perform rowcall.let_gate_login_v1(login, true);
  perform rowcall.install_ask_v1();
end $$;

-- Gives or takes what the gate's login may do. Its sessions do not show what they are asked: pg_stat_activity would show it to every other
-- session of the same login, and a writer can use one where dblink is open to everybody. That takes a superuser, or who was
-- granted SET on the parameter; elsewhere "rowcall doctor" tells.
create function rowcall.let_gate_login_v1(login name, may boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_form constant text := case when may then 'grant execute on %s %s to %I' else 'revoke execute on %s %s from %I' end;
begin
  execute format(v_form, 'function',
    'rowcall.gate_submit_v1(text, text), rowcall.gate_await_v1(bigint, text), rowcall.gate_record_v1(text, text)', login);
  execute format(v_form, 'procedure', 'rowcall.gate_ask_v1(text, text, jsonb), rowcall.gate_refuse_v1(text, text, jsonb)', login);
  begin
    execute format('alter role %I in database %I %s track_activities', login, current_database(), case when may then 'set' else 'reset' end)
      || case when may then ' = off' else '' end;
  exception when insufficient_privilege then
    null;
  end;
end $$;

-- The gate's login, and those it had before.
-- Called by: configure_gate_v1, rowcall doctor.
create function rowcall.gate_logins_v1() returns setof name
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select distinct r.rolname from pg_proc as p cross join aclexplode(p.proacl) as a join pg_roles as r on r.oid = a.grantee
  where p.oid = 'rowcall.gate_submit_v1(text, text)'::regprocedure and a.grantee <> p.proowner and r.rolcanlogin
$$;
