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

-- name: watches
select r.schema_name || '.' || r.table_name as "table", w.declared_by,
  coalesce(w.options -> 'exclude', '[]') as exclude, coalesce(w.options -> 'redact', '[]') as redact,
  coalesce((w.options ->> 'notify')::boolean, false) as notify,
  rowcall.capture_is_current_v1(r.id) and rowcall.capture_is_enabled_v1(r.id) as current
from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
order by 1;
