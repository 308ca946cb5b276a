-- The gate's own session: what its login may do. It is worth nothing to whoever gets hold of it, as the writing session
-- can: it submits requests that a trigger signed, and waits for the answers to its own.
--
-- gate_ask_v1 is a procedure so that it can commit the request (and so send the NOTIFY) and then wait in the same call.
-- A procedure that commits can be neither SECURITY DEFINER nor carry settings, so narrow functions do the work.

-- The body of a request, {"relation", "operation", "key", "old", "new", …}, once its signature is found to be ours.
create function rowcall.gate_body_v1(request text, signature text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if rowcall.signature_v1(request) is distinct from signature then
    raise exception using errcode = '42501', message = 'this request was not made by a trigger of Rowcall''s.',
      hint = 'Write to the table instead: its triggers ask the gate.';
  end if;
  return request;
end $$;

-- Submits: {…, "at", "handlers", "timeout_ms", "on_unavailable"}. The deadline counts from when the writer asked.
create function rowcall.gate_submit_v1(request text, signature text) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_body constant jsonb := rowcall.gate_body_v1(request, signature);
  v_handlers constant jsonb := v_body -> 'handlers';
  v_ticket constant bigint := hashtextextended(format('%s %s', v_body -> 'relation', v_handlers), pg_backend_pid()) & ~3::bigint;
  v_setting constant text := 'rowcall.turn_' || to_hex(v_ticket);
  v_turn constant integer := coalesce(nullif(current_setting(v_setting, true), '')::integer # 1, 0);
  v_expires_at constant timestamptz :=
    (v_body ->> 'at')::timestamptz + make_interval(secs => (v_body -> 'timeout_ms')::integer / 1000.0);
  v_id bigint;
begin
  perform set_config('rowcall.expires_at', v_expires_at::text, false);
  perform rowcall.gate_hurry_v1();
  perform set_config(v_setting, v_turn::text, false);
  insert into rowcall.request as r (id, ticket, turn, relation, handlers, body, expires_at)
    values (nextval('rowcall.request_id'), v_ticket, v_turn, (v_body -> 'relation')::integer, v_handlers, v_body, v_expires_at)
    on conflict (session) do update set id = excluded.id, ticket = excluded.ticket, turn = excluded.turn,
      relation = excluded.relation, handlers = excluded.handlers, body = excluded.body, expires_at = excluded.expires_at, verdict = null
    returning id into v_id;
  perform pg_notify('rowcall_gate', '');
  return v_id;
end $$;

-- Whatever somebody locks here, the writer does not wait longer than it said: so long does this session wait for a lock. Ten
-- milliseconds are left to it in any case, for what is recorded; the writer's margin is twenty.
create function rowcall.gate_hurry_v1() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('lock_timeout', greatest(10, ceil(extract(epoch from
    nullif(current_setting('rowcall.expires_at', true), '')::timestamptz - clock_timestamp()) * 1000)::integer)::text, true);
end $$;

-- The answer to a request of this session, or what it comes to at its deadline; what was refused is recorded. Null after
-- ringing again, which is heard at the next commit.
-- The wait is for a lock that the listener holds and lets go when it answers: no polling, and it ends at once when the listener
-- dies, for another to be asked. A session has two of these locks for the handlers it asks, and they take turns: the one for its
-- next request is taken before the one for this request is let go. Only where nobody holds it yet, as for the first request, it
-- looks every millisecond.
create function rowcall.gate_await_v1(request_id bigint, signature text) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request rowcall.request;
  v_answer jsonb;
  v_looks integer := 0;
begin
  loop
    perform rowcall.gate_hurry_v1();
    select * into v_request from rowcall.request where session = pg_backend_pid() and id = request_id;
    if not found then
      return '{"verdict": "lost"}';
    end if;
    exit when v_request.verdict is not null;
    exit when v_request.expires_at <= clock_timestamp();
    if v_looks = 20 then
      perform pg_notify('rowcall_gate', '');
      return null;
    end if;
    v_looks := case when rowcall.gate_wait_v1(v_request.ticket | v_request.turn) then 20 else v_looks + 1 end;
  end loop;
  v_answer := coalesce(v_request.verdict, rowcall.gate_unanswered_v1(v_request.body));
  if v_answer ->> 'verdict' = 'reject' then
    -- One that cannot be recorded is one all the same; without an answer, the write could count as one that nobody judged.
    begin
      perform rowcall.record_rejection_v1(v_request.body || jsonb_build_object(
        'handler', v_answer -> 'handler', 'message', v_answer -> 'message', 'column', v_answer -> 'column'));
    exception when others then
      raise warning 'rowcall: a rejection could not be recorded (%): %', sqlstate, sqlerrm;
      v_answer := v_answer || jsonb_build_object('hint', coalesce(v_answer ->> 'hint', 'The rejection could not be recorded.'));
    end;
  end if;
  return v_answer || jsonb_build_object('signature', rowcall.signature_v1(signature || v_answer::text));
end $$;

-- Waits until somebody lets go of a lock, as long as this session waits for any; whether anybody held it and let it go.
create function rowcall.gate_wait_v1(lock bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_try_advisory_lock_shared(lock) then
    perform pg_advisory_unlock_shared(lock);
    perform pg_sleep(0.001);
    return false;
  end if;
  perform pg_advisory_lock_shared(lock);
  perform pg_advisory_unlock_shared(lock);
  return true;
exception when lock_not_available then
  return false;
end $$;

-- Asks before-handlers and waits. Answers {"verdict": "accept" | "reject" | "lost", …, "unavailable": whether nobody answered}.
create procedure rowcall.gate_ask_v1(request text, signature text, inout answer jsonb)
language plpgsql
as $$
declare
  v_id pg_catalog.int8;
begin
  v_id := rowcall.gate_submit_v1(request, signature);
  loop
    commit;
    answer := rowcall.gate_await_v1(v_id, signature);
    exit when answer is not null;
  end loop;
end $$;

-- The listener's turn: hands out verdicts, lets those who wait for them go, and says what is asked next.
-- verdicts: of the requests with these ids. awaited: the locks to let go. next: those to take before.
-- tickets: whose requests are this session's already. busy: requests that are being answered.
-- known: the handlers this process has, by relation.
-- What would not fit into one answer comes without its body, and with it in a later turn.
create procedure rowcall.gate_turn_v1(ids bigint[], verdicts jsonb[], next bigint[], awaited bigint[],
  tickets bigint[], busy bigint[], known jsonb, inout asked json)
language plpgsql
as $$
declare
  v_later bigint[] := '{}';
begin
  if ids <> '{}' then
    update rowcall.request as r set verdict = v.verdict
      from unnest(ids, verdicts) as v (id, verdict) where r.id = v.id and r.verdict is null;
    perform pg_try_advisory_lock(k) from unnest(next) as k;
    commit;
  end if;
  perform pg_advisory_unlock(k) from unnest(awaited) as k;
  -- A cheap look first, at the sizes they are stored in.
  if (select sum(pg_column_size(q.body)) from rowcall.request as q where q.verdict is null) > 262144 then
    v_later := rowcall.gate_later_v1(tickets, busy, known);
  end if;
  select json_build_object('strange', bool_or(known -> q.relation::text is null), 'requests', json_agg(json_build_object(
      'id', q.id, 'ticket', q.ticket, 'turn', q.turn, 'seconds', extract(epoch from q.expires_at - clock_timestamp()),
      'since', (select max(l.since) from rowcall.layout as l where l.relation = q.relation),
      'relation', q.relation, 'handlers', q.handlers, 'body', case when q.id = any (v_later) then null else q.body::text end))
      -- In this order: who cannot answer a request must not take it from who can, and an AND would go on after a null.
      filter (where case when q.handlers <@ (known -> q.relation::text)
        then q.ticket = any (tickets) or pg_try_advisory_lock(q.ticket | 2) end))
    into asked
    from rowcall.request as q
    where q.verdict is null and q.expires_at > clock_timestamp() and q.id <> all (busy);
end $$;

-- The requests that do not fit into one answer, beyond 32 MB. Those with a ticket we have come first, and those without get one in
-- the same turn, so that what another listener is at keeps none of ours from being read.
-- Called by: gate_turn_v1.
create function rowcall.gate_later_v1(tickets bigint[], busy bigint[], known jsonb) returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(m.id), '{}')
  from (
    select q.id, sum(t.size) over (order by q.ticket = any (tickets) desc, q.id) - t.size as before
    from rowcall.request as q
    cross join lateral (select octet_length(q.body::text)) as t (size)
    where q.verdict is null and q.id <> all (busy) and q.handlers <@ (known -> q.relation::text)
  ) as m
  where m.before >= 33554432
$$;

-- What a request comes to that nobody answered, as its handlers declared.
create function rowcall.gate_unanswered_v1(request jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case request ->> 'on_unavailable'
    when 'accept' then '{"verdict": "accept", "unavailable": true}'::jsonb
    else jsonb_build_object('verdict', 'reject', 'unavailable', true, 'handler', request -> 'handlers' ->> 0,
      'message', format('no listener answered within %s ms', request ->> 'timeout_ms'),
      'hint', 'Start "rowcall listen", or declare on_unavailable="accept". A handler that touches the row it judges also ends here.')
  end
$$;

alter function rowcall.gate_submit_v1(text, text) owner to rowcall_gate;
alter function rowcall.gate_await_v1(bigint, text) owner to rowcall_gate;
