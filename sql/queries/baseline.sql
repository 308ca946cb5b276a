-- The baseline of watched tables, see functions/baseline_v1.sql.

-- name: begin
select rowcall.begin_baseline_v1(r.id, %(again)s)
from rowcall.relation as r where r.schema_name = %(schema)s and r.table_name = %(table)s and r.dropped_at is null;

-- name: pending
-- Baselines that are not complete: how many events of each are there already, and about how many rows the table has.
select b.relation, r.schema_name || '.' || r.table_name, b.events,
  (select coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint
   from pg_partition_tree(r.oid) as t join pg_class as c on c.oid = t.relid where t.isleaf)
from rowcall.baseline as b join rowcall.relation as r on r.id = b.relation
where not b.done and r.schema_name || '.' || r.table_name = any (%(tables)s)
order by 2;

-- name: chunk
-- In a transaction of its own.
select rowcall.baseline_chunk_v1(%(relation)s, %(many)s);

-- name: state
select read, done, events from rowcall.baseline where relation = %(relation)s;
