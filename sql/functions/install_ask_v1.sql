-- Generates the writer's side of the gate, once the schema that dblink lives in is known: every call of it is
-- qualified, so nothing of that name elsewhere can stand in for it.
-- Called by: configure_gate_v1.
--
-- ask_v1(call, request, timeout_ms) sends one statement over the session's kept connection "rowcall" and returns what
-- it answers, or null when no answer came in time or no connection could be made: the caller decides what that means.
-- The gate's session answers by the deadline, so from PostgreSQL 17 on the wait for it is simply one for its result. Before,
-- that would ignore cancel and timeouts, so it is short sleeps, which cost up to a millisecond. dblink() would be one call
-- instead of three, but reads what is under way to its end before it lets itself be cancelled.
-- A connection with an answer still under way or unread (the last wait was cut) is dropped, never read from again, and one
-- that died is replaced. Whoever has rights on dblink could put another connection under that name: hence the signatures.
--
-- try_gate_v1() connects as a writer would, and says whether that leads back to this database: the lock held here
-- cannot be taken there. What goes wrong is raised.
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
set client_min_messages = warning
-- The listener cannot read every offset from UTC that the writer's own may have.
set timezone = 'UTC'
as $ask$
declare
  v_deadline constant timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
  -- The time makes every request another one, so an old answer fits none.
  v_request constant text := request || jsonb_build_object('at', clock_timestamp());
  v_signature constant text := rowcall.signature_v1(v_request);
  v_call constant text := format('call rowcall.%%I(%%L, %%L, null)', procedure, v_request, v_signature);
  v_kept boolean := 'rowcall' = any (coalesce(%1$s.dblink_get_connections(), '{}'));
  v_interruptible constant boolean := current_setting('server_version_num')::integer >= 170000;
  v_answer jsonb;
begin
  loop
    begin
      if v_kept and %1$s.dblink_is_busy('rowcall') = 1 then
        perform %1$s.dblink_disconnect('rowcall');
        v_kept := false;
      end if;
      if not v_kept then
        perform %1$s.dblink_connect('rowcall', 'rowcall_gate');
      end if;
      if %1$s.dblink_send_query('rowcall', v_call) = 0 then
        raise exception using errcode = '08006', message = 'the gate''s connection takes no query';
      end if;
      while not v_interruptible and %1$s.dblink_is_busy('rowcall') = 1 loop
        if clock_timestamp() >= v_deadline then
          perform %1$s.dblink_disconnect('rowcall');
          return null;
        end if;
        perform pg_sleep(0.0005);
      end loop;
      select answer into v_answer from %1$s.dblink_get_result('rowcall') as r (answer jsonb);
      -- The second, empty result says that the connection is free again.
      perform from %1$s.dblink_get_result('rowcall') as r (answer jsonb);
      if rowcall.signature_v1(v_signature || (v_answer - 'signature')::text) is distinct from v_answer ->> 'signature' then
        raise exception using errcode = '08P01', message = 'the gate''s connection is not the gate''s';
      end if;
      if v_answer ? 'unavailable' then
        -- Who has this session's requests may be frozen; another session's go to another.
        perform %1$s.dblink_disconnect('rowcall');
      end if;
      return v_answer - '{signature,unavailable}'::text[];
    exception when others then
      if 'rowcall' = any (coalesce(%1$s.dblink_get_connections(), '{}')) then
        perform %1$s.dblink_disconnect('rowcall');
      end if;
      if clock_timestamp() >= v_deadline then
        return null;
      end if;
      if not v_kept then
        -- No details: they may name the gate's host and login.
        raise warning 'rowcall: the gate cannot be reached (%%)', sqlstate
          using hint = 'Ask the administrator to run "rowcall migrate --gate-dsn" again.';
        return null;
      end if;
      -- The kept connection died, as after a restart of the server: once more over a new one.
      v_kept := false;
    end;
  end loop;
end $ask$;

create or replace function rowcall.try_gate_v1() returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $try$
declare
  v_same boolean;
begin
  perform pg_advisory_xact_lock(1383036771, 101);
  perform %1$s.dblink_connect('rowcall_try', 'rowcall_gate');
  select same into v_same
    from %1$s.dblink('rowcall_try', 'select not pg_catalog.pg_try_advisory_lock(1383036771, 101)') as r (same boolean);
  perform %1$s.dblink_disconnect('rowcall_try');
  return v_same;
end $try$$function$, v_schema);
  perform rowcall.give_function_v1('rowcall.ask_v1(text, jsonb, integer)', 'rowcall_gate');
  perform rowcall.give_function_v1('rowcall.try_gate_v1()', 'rowcall_gate');
end $generator$;
