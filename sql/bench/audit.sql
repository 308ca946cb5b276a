-- What `rowcall bench audit` asks of: a table, and a log of it over four months.

-- name: table
create table bench_audit (id bigint primary key, email text not null, status text not null, amount numeric(12, 2) not null,
  notes text not null);

-- name: partitions
-- The log's first partition ends three months ago, so that four hold events.
do $$
declare
  v_month timestamptz := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC';
begin
  drop table rowcall.event_first;
  perform rowcall.create_partition_v1('minvalue', (v_month - interval '3 months')::text);
  for i in 1..4 loop
    perform rowcall.create_partition_v1((v_month - (4 - i) * interval '1 month')::text, (v_month - (3 - i) * interval '1 month')::text);
  end loop;
end $$;

-- name: fill
-- An insert of each row, then updates in another order; by 200 actors.
insert into rowcall.event (seq, xid, at, relation, operation, key, old, new, actor, db_user)
select n, pg_current_xact_id(),
  now() - interval '90 days' + n * (interval '90 days' / %(events)s),
  r.id, case when n <= %(rows)s then 'insert'::rowcall.operation else 'update'::rowcall.operation end,
  jsonb_build_object('id', e.id),
  case when n > %(rows)s then json_build_object('amount', n - 1, 'status', 'open') end,
  json_build_object('id', e.id, 'email', 'user' || e.id || '@example.org', 'status', 'paid', 'amount', n, 'notes', repeat('note ', 30)),
  'actor' || n %% 200, session_user
from rowcall.relation as r
cross join generate_series(%(since)s::bigint, %(until)s::bigint) as n
cross join lateral (select case when n <= %(rows)s then n else 1 + mod(n * 7919, %(rows)s) end as id) as e
where r.table_name = 'bench_audit';

-- name: rows
-- The table as its log has it.
insert into bench_audit
select id, 'user' || id || '@example.org', 'paid', n, repeat('note ', 30)
from (
  select case when n <= %(rows)s then n else 1 + mod(n * 7919, %(rows)s) end as id, max(n) as n
  from generate_series(1, %(events)s::bigint) as n group by 1
) as e;
