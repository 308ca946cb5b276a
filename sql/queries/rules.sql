-- Rules, and the rows that break them.

-- name: rules
-- Every rule that is declared; current: whether all the validation of its table is in place.
select r.schema_name || '.' || r.table_name as "table", d.name, d.expression, d.message, d.operations, d.on_violation, d.declared_by,
  coalesce(rowcall.guard_is_current_v1(r.id), false) as current
from rowcall.rule as d
join rowcall.relation as r on r.id = d.relation and r.dropped_at is null
join pg_class as c on c.oid = r.oid
order by 1, 2;

-- name: declared
-- Rules to check, of the tables named, or of all.
select r.schema_name, r.table_name, d.name, d.expression, d.rows
from rowcall.rule as d
join rowcall.relation as r on r.id = d.relation and r.dropped_at is null
join pg_class as c on c.oid = r.oid
where %(tables)s::oid[] is null or r.oid = any (%(tables)s::oid[])
order by 1, 2, 3;

-- name: parts
-- What a table's rows lie in: itself, or its partitions; how many pages each has (0: none that can be told), and about how many
-- rows. And the expression for a row's key, as capture would write it.
select n.nspname, c.relname, case c.relkind when 'r' then pg_relation_size(c.oid) / current_setting('block_size')::bigint else 0 end,
  greatest(c.reltuples, 0)::bigint,
  rowcall.key_expression_v1(to_regclass(%(name)s), coalesce((
    select w.options from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
    where r.oid = to_regclass(%(name)s) and r.dropped_at is null), '{}'), 'new')
from (
  select relid from pg_partition_tree(to_regclass(%(name)s)) where isleaf
  union
  select to_regclass(%(name)s)
) as t
join pg_class as c on c.oid = t.relid
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind <> 'p'
order by 1, 2;

-- name: broken
-- Of some pages of a table: how many rows they have, how many of these break a rule, and the keys of the first ones.
select count(*), count(key), coalesce((array_agg(key) filter (where key is not null))[1:{many}], '{{}}')
from (
  select case when ({expression}
  ) is false then {key} end as key
  from only {table} as new
  where {place}
) as judged;
