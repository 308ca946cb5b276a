-- Watches, rules and before-handlers as declared.

-- name: resolve
select to_regclass(%(name)s)::oid, n.nspname, c.relname
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.oid = to_regclass(%(name)s);

-- name: watch
select rowcall.watch_v1(%(name)s::regclass, %(options)s, %(declared_by)s);

-- name: unwatch
select case when rowcall.unwatch_v1(%(name)s::regclass) then 'removed' else 'unchanged' end;

-- name: guard
select rowcall.guard_v1(%(name)s::regclass, %(rules)s, %(handlers)s, %(declared_by)s);

-- name: declared_watches
select n.nspname, c.relname
from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
join pg_class as c on c.oid = r.oid join pg_namespace as n on n.oid = c.relnamespace
where w.declared_by = %(declared_by)s and r.dropped_at is null;

-- name: declared_guards
select distinct n.nspname, c.relname
from rowcall.relation as r
join (select relation, declared_by from rowcall.rule union select relation, declared_by from rowcall.before_handler) as g
  on g.relation = r.id
join pg_class as c on c.oid = r.oid join pg_namespace as n on n.oid = c.relnamespace
where g.declared_by = %(declared_by)s and r.dropped_at is null;

-- name: not_in_place
-- Of the tables an app declares, those whose capture or validation is missing or out of date.
-- tables: [{"schema", "table", "watched", "guarded"}].
select d ->> 'schema', d ->> 'table'
from jsonb_array_elements(%(tables)s) as d
left join rowcall.relation as r
  on r.schema_name = d ->> 'schema' and r.table_name = d ->> 'table' and r.dropped_at is null
where (d -> 'watched')::boolean and not coalesce(
    exists (select from rowcall.watch where relation = r.id) and rowcall.capture_is_current_v1(r.id), false)
  or (d -> 'guarded')::boolean and not coalesce(rowcall.guard_is_current_v1(r.id), false);

-- name: watched
select r.schema_name || '.' || r.table_name
from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
where r.dropped_at is null;

-- name: watches
-- With the defaults of options that were not given; no columns are all columns.
select r.schema_name || '.' || r.table_name as "table", w.declared_by,
  coalesce(w.options -> 'exclude', '[]') as exclude, coalesce(w.options -> 'redact', '[]') as redact,
  coalesce(w.options -> 'erasable', '[]') as erasable,
  coalesce((w.options ->> 'notify')::boolean, false) as notify, coalesce(w.options -> 'columns', '[]') as columns,
  w.options ->> 'when' as "when", coalesce(w.options -> 'operations', '["insert", "update", "delete", "truncate"]') as operations,
  coalesce(w.options ->> 'truncate', 'event') as truncate,
  rowcall.capture_is_current_v1(r.id) and rowcall.capture_is_enabled_v1(r.id) as current
from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
where r.dropped_at is null
order by 1;
