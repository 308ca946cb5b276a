-- The gate's own session: what its login may do. It is worth nothing to whoever gets hold of it, as the writing session
-- can: it submits requests and waits for the answers to its own.
--
-- gate_ask_v1 is a procedure so that it can commit the request (and so send the NOTIFY) and then wait in the same call.
-- A procedure that commits can be neither SECURITY DEFINER nor carry settings, so narrow functions do the work.

-- Submits: {"relation", "operation", "key", "old", "new", "handlers", "timeout_ms", "on_unavailable", …}.
create function rowcall.gate_submit_v1(request jsonb) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  insert into rowcall.request (body, expires_at)
    values (request, clock_timestamp() + make_interval(secs => (request ->> 'timeout_ms')::integer / 1000.0))
    returning id into v_id;
  perform pg_notify('rowcall_gate', '');
  return v_id;
end $$;

-- The verdict on a request of this session, null while there is none.
create function rowcall.gate_verdict_v1(request_id bigint) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select verdict from rowcall.request where id = request_id and pid = pg_backend_pid()
$$;

-- Removes an answered or expired request of this session, and records what was refused.
create function rowcall.gate_finish_v1(request_id bigint, request jsonb, verdict jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from rowcall.request where id = request_id and pid = pg_backend_pid();
  if verdict ->> 'verdict' = 'reject' then
    perform rowcall.gate_record_v1(request || jsonb_build_object(
      'handler', verdict -> 'handler', 'message', verdict -> 'message', 'column', verdict -> 'column'));
  end if;
end $$;

-- Records a refused write.
create function rowcall.gate_record_v1(rejection jsonb) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcall.rejection (xid, relation, operation, key, old, new, rule, handler, message, column_name,
    actor, context, db_user, db_role, application_name)
  select (rejection ->> 'xid')::xid8, (rejection ->> 'relation')::integer, (rejection ->> 'operation')::rowcall.operation,
    nullif(rejection -> 'key', 'null'), nullif(rejection -> 'old', 'null'), nullif(rejection -> 'new', 'null'),
    rejection ->> 'rule', rejection ->> 'handler', rejection ->> 'message', rejection ->> 'column',
    rejection ->> 'actor', nullif(rejection -> 'context', 'null'),
    rejection ->> 'db_user', rejection ->> 'db_role', rejection ->> 'application_name'
$$;

-- Asks before-handlers and waits. Answers {"verdict": "accept" | "reject" | "unavailable", …}.
create procedure rowcall.gate_ask_v1(request jsonb, inout answer jsonb)
language plpgsql
as $$
declare
  v_id bigint;
  v_deadline timestamptz;
begin
  v_deadline := pg_catalog.clock_timestamp()
    + pg_catalog.make_interval(secs => (request operator(pg_catalog.->>) 'timeout_ms')::pg_catalog.int4 / 1000.0);
  v_id := rowcall.gate_submit_v1(request);
  commit;
  loop
    answer := rowcall.gate_verdict_v1(v_id);
    exit when answer is not null;
    if pg_catalog.clock_timestamp() operator(pg_catalog.>=) v_deadline then
      answer := rowcall.gate_unanswered_v1(request);
      exit;
    end if;
    perform pg_catalog.pg_sleep(0.0005);
  end loop;
  perform rowcall.gate_finish_v1(v_id, request, answer);
end $$;

-- What a request comes to that nobody answered, as its handlers declared.
create function rowcall.gate_unanswered_v1(request jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case request ->> 'on_unavailable'
    when 'accept' then jsonb_build_object('verdict', 'unavailable')
    else jsonb_build_object('verdict', 'reject', 'unavailable', true, 'handler', request -> 'handlers' ->> 0,
      'message', format('no listener answered within %s ms', request ->> 'timeout_ms'),
      'hint', 'Start "rowcall listen", or declare on_unavailable="accept". A handler that touches the row it judges also ends here.')
  end
$$;

-- Records a refusal by a rule.
create procedure rowcall.gate_refuse_v1(request jsonb, inout answer jsonb)
language plpgsql
as $$
begin
  perform rowcall.gate_record_v1(request);
  answer := '{"verdict": "recorded"}';
end $$;

alter function rowcall.gate_submit_v1(jsonb) owner to rowcall_gate;
alter function rowcall.gate_verdict_v1(bigint) owner to rowcall_gate;
alter function rowcall.gate_finish_v1(bigint, jsonb, jsonb) owner to rowcall_gate;
alter function rowcall.gate_record_v1(jsonb) owner to rowcall_gate;
