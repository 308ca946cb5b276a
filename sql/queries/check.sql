-- Whether the log says what a watched table holds, see functions/check_v1.sql.

-- name: relation
-- The watched table, and about how many rows it has.
select r.id, r.schema_name || '.' || r.table_name, w.options,
  (select coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint
   from pg_partition_tree(r.oid) as t join pg_class as c on c.oid = t.relid where t.isleaf)
from rowcall.relation as r join rowcall.watch as w on w.relation = r.id
where r.id = %(relation)s and r.dropped_at is null;

-- name: settings
-- As capture makes images, for the rest of the transaction; and one hash join for all keys, not an index scan for each.
select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),
  set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
  set_config('extra_float_digits', '1', true), set_config('lc_monetary', 'C', true), set_config('row_security', 'off', true),
  set_config('work_mem', '128MB', true), set_config('jit', 'off', true);

-- name: statement
select rowcall.check_statement_v1(%(relation)s);
