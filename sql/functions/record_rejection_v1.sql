-- Records what a rule or a before-handler did not like: {"outcome", "relation", "operation", "key", "old", "new", "rule", …}.
-- One loop of bad writes must not fill the disk: of each relation, rule or handler and session user, 100 in the last minute are
-- recorded one by one (a few more, where sessions do so at once), the others counted.
-- A counter of refused writes is one row of a transaction that does nothing else, so nobody waits for long and nobody in a
-- circle, and it need not survive a crash of the server. Warned writes are counted by a row each, because the writer's transaction
-- may stay open; it is small beside what the write itself leaves.
-- Called by: gate_record_v1, gate_answer_v1, warn_N. Runs as rowcall_gate. Cost: 30 µs.
create function rowcall.record_rejection_v1(rejection jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation constant integer := (rejection ->> 'relation')::integer;
  v_outcome constant text := coalesce(rejection ->> 'outcome', 'refused');
  v_user constant text := coalesce(rejection ->> 'db_user', '');
  v_minute constant timestamptz := date_trunc('minute', clock_timestamp());
begin
  if rowcall.is_rejection_recorded_v1(v_relation, coalesce(rejection ->> 'rule', rejection ->> 'handler'), v_user) then
    insert into rowcall.rejection (outcome, xid, relation, operation, key, old, new, rule, handler, message, column_name,
      actor, context, db_user, db_role, application_name)
    select v_outcome, (rejection ->> 'xid')::xid8, v_relation, (rejection ->> 'operation')::rowcall.operation,
      rowcall.short_v1(rejection -> 'key'), rowcall.short_v1(rejection -> 'old'), rowcall.short_v1(rejection -> 'new'),
      rejection ->> 'rule', rejection ->> 'handler', left(rejection ->> 'message', 2000), left(rejection ->> 'column', 200),
      left(rejection ->> 'actor', 1000), rowcall.short_v1(rejection -> 'context'),
      v_user, rejection ->> 'db_role', rejection ->> 'application_name';
  elsif v_outcome = 'warned' then
    insert into rowcall.rejection_tally (minute, relation, rule, handler, outcome, db_user)
      values (v_minute, v_relation, rejection ->> 'rule', rejection ->> 'handler', v_outcome, v_user);
  else
    perform set_config('synchronous_commit', 'off', true);
    insert into rowcall.rejection_tally as t (minute, relation, rule, handler, outcome, db_user, shard)
      values (v_minute, v_relation, rejection ->> 'rule', rejection ->> 'handler', v_outcome, v_user, pg_backend_pid() % 8)
      on conflict (relation, reason, db_user, minute, shard) where shard is not null
      do update set suppressed = t.suppressed + 1, last_at = clock_timestamp();
  end if;
end $$;

-- Whether one more is recorded in full. Looks at 100 rows at most, by an index.
create function rowcall.is_rejection_recorded_v1(relation_id integer, reason text, db_user text) returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select count(*) < 100 from (
    select from rowcall.rejection as j
    where j.relation = relation_id and j.reason = left(is_rejection_recorded_v1.reason, 200)
      and j.db_user = is_rejection_recorded_v1.db_user and j.at > clock_timestamp() - interval '1 minute'
    limit 100
  ) as recent
$$;

-- JSON as a record keeps it: up to 64 kB, and null for nothing.
create function rowcall.short_v1(value jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when pg_column_size(value) <= 65536 then nullif(value, 'null') end
$$;
