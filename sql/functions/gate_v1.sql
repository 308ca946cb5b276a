-- The gate's own session: what its login may do. It is worth nothing to whoever gets hold of it, as the writing session
-- can: it submits requests that a trigger signed, and waits for the answers to its own.
--
-- gate_ask_v1 is a procedure so that it can commit the request (and so send the NOTIFY) and then wait in the same call.
-- A procedure that commits can be neither SECURITY DEFINER nor carry settings, so narrow functions do the work.

-- The body of a request, {"relation", "operation", "key", "old", "new", …}, once its signature is found to be ours.
create function rowcall.gate_body_v1(request jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if rowcall.signature_v1((request - 'signature')::text) is distinct from request ->> 'signature' then
    raise exception using errcode = '42501', message = 'this request was not made by a trigger of Rowcall''s.',
      hint = 'Write to the table instead: its triggers ask the gate.';
  end if;
  return request;
end $$;

-- Submits: {…, "at", "handlers", "timeout_ms", "on_unavailable"}. The deadline counts from when the writer asked.
create function rowcall.gate_submit_v1(request jsonb) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  insert into rowcall.request (body, expires_at)
    values (rowcall.gate_body_v1(request),
      (request ->> 'at')::timestamptz + make_interval(secs => (request ->> 'timeout_ms')::integer / 1000.0))
    returning id into v_id;
  perform pg_notify('rowcall_gate', '');
  return v_id;
end $$;

-- The answer to a request of this session, null while there is none and time is left. With it the request ends,
-- and what was refused is recorded.
create function rowcall.gate_answer_v1(request_id bigint) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request rowcall.request;
  v_answer jsonb;
begin
  select * into v_request from rowcall.request where id = request_id and pid = pg_backend_pid();
  if not found then
    return '{"verdict": "lost"}';
  end if;
  v_answer := coalesce(v_request.verdict, case when clock_timestamp() >= v_request.expires_at
    then rowcall.gate_unanswered_v1(v_request.body) end);
  if v_answer is null then
    return null;
  end if;
  delete from rowcall.request where id = request_id;
  if v_answer ->> 'verdict' = 'reject' then
    perform rowcall.record_rejection_v1(v_request.body || jsonb_build_object(
      'handler', v_answer -> 'handler', 'message', v_answer -> 'message', 'column', v_answer -> 'column'));
  end if;
  return v_answer || jsonb_build_object('signature',
    rowcall.signature_v1((v_request.body ->> 'signature') || v_answer::text));
end $$;

-- Asks before-handlers and waits. Answers {"verdict": "accept" | "reject" | "unavailable" | "lost", …}.
create procedure rowcall.gate_ask_v1(request jsonb, inout answer jsonb)
language plpgsql
as $$
declare
  v_id pg_catalog.int8;
begin
  v_id := rowcall.gate_submit_v1(request);
  commit;
  loop
    answer := rowcall.gate_answer_v1(v_id);
    exit when answer is not null;
    perform pg_catalog.pg_sleep(0.0005);
  end loop;
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

alter function rowcall.gate_submit_v1(jsonb) owner to rowcall_gate;
alter function rowcall.gate_answer_v1(bigint) owner to rowcall_gate;
