-- Generates rowcall.ask_v1, the writer's side of the gate, once the schema that dblink lives in is known: every call of it
-- is qualified, so nothing of that name elsewhere can stand in for it.
--
-- ask_v1(call, request, timeout_ms) sends one statement over the session's kept connection "rowcall" and returns what
-- it answers, or null when no answer came in time or no connection could be made: the caller decides what that means.
-- The wait is short sleeps, because dblink's own waiting ignores cancel and timeouts before PostgreSQL 17.
-- A connection with an answer still under way (the last wait was cut) is dropped, never read from again.
-- Called by: configure_gate_v1.
create function rowcall.install_ask_v1() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_schema text;
begin
  select quote_ident(n.nspname) into strict v_schema
    from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'dblink';
  execute format($function$
create or replace function rowcall.ask_v1(procedure text, request jsonb, timeout_ms integer) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $ask$
declare
  v_deadline constant timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
  v_call constant text := format('call rowcall.%%I(%%L, null)', procedure, request);
  v_answer jsonb;
begin
  begin
    if not 'rowcall' = any (coalesce(%1$s.dblink_get_connections(), '{}')) then
      perform %1$s.dblink_connect('rowcall', 'rowcall_gate');
    elsif %1$s.dblink_is_busy('rowcall') = 1 then
      perform %1$s.dblink_disconnect('rowcall');
      perform %1$s.dblink_connect('rowcall', 'rowcall_gate');
    end if;
    if %1$s.dblink_send_query('rowcall', v_call) = 0 then
      -- The kept connection died, as after a restart of the server: one fresh one.
      perform %1$s.dblink_disconnect('rowcall');
      perform %1$s.dblink_connect('rowcall', 'rowcall_gate');
      perform %1$s.dblink_send_query('rowcall', v_call);
    end if;
    while %1$s.dblink_is_busy('rowcall') = 1 loop
      if clock_timestamp() >= v_deadline then
        perform %1$s.dblink_disconnect('rowcall');
        return null;
      end if;
      perform pg_sleep(0.0005);
    end loop;
    select answer into v_answer from %1$s.dblink_get_result('rowcall') as r (answer jsonb);
    -- The second, empty result says that the connection is free again.
    perform from %1$s.dblink_get_result('rowcall') as r (answer jsonb);
    return v_answer;
  exception when others then
    -- No details: they may name the gate's host and login.
    raise warning 'rowcall: the gate cannot be reached (%%)', sqlstate
      using hint = 'Ask the administrator to run "rowcall doctor".';
    if 'rowcall' = any (coalesce(%1$s.dblink_get_connections(), '{}')) then
      perform %1$s.dblink_disconnect('rowcall');
    end if;
    return null;
  end;
end $ask$$function$, v_schema);
  perform rowcall.give_function_v1('rowcall.ask_v1(text, jsonb, integer)', 'rowcall_gate');
end $generator$;
