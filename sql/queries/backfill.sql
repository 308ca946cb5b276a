-- Filling new subscriptions with the rows that are there, see functions/backfill_v1.sql.

-- name: pending
-- Subscriptions of an app that are not complete, each with its tables: how many events of each are there already, about how
-- many rows the table has, and whether they are all looked at, and in the log.
select s.id, s.name, b.relation, r.schema_name || '.' || r.table_name, b.events,
  (select coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint
   from pg_partition_tree(r.oid) as t join pg_class as c on c.oid = t.relid where t.isleaf)
from rowcall.subscription as s
left join (rowcall.backfill as b join rowcall.relation as r on r.id = b.relation) on b.subscription = s.id and not b.done
where not s.ready and s.declared_by = %(declared_by)s
order by s.name, 4;

-- name: chunk
-- In a transaction of its own, as is the rest.
select rowcall.backfill_chunk_v1(%(subscription)s, %(relation)s, %(many)s);

-- name: is_read
select read from rowcall.backfill where subscription = %(subscription)s and relation = %(relation)s;

-- name: rest
select rowcall.backfill_chunk_v1(%(subscription)s, %(relation)s, null);

-- name: complete
-- Lets listeners have the subscription: first its snapshot events, then what happened since it began. Once, whoever is first;
-- not before every table is done.
with made_ready as (
  update rowcall.subscription set ready = true
  where id = %(subscription)s and not ready
    and not exists (select from rowcall.backfill where subscription = %(subscription)s and not done)
  returning id
), filled as (
  select sum(events) as events, min(first_seq) as first_seq, max(last_seq) as last_seq
  from rowcall.backfill where subscription = %(subscription)s
), placed as (
  update rowcall.cursor as c
  set stage = case when f.events > 0 then 'backfill'::rowcall.stage end, stage_seq = coalesce(f.first_seq - 1, 0),
    stage_until = coalesce(f.last_seq, 0)
  from made_ready as m cross join filled as f
  where c.subscription = m.id
  returning pg_notify('rowcall', '')
)
select coalesce(events, 0)::bigint from filled cross join (select count(*) from placed) as p;
