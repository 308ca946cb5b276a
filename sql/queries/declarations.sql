-- Watches, rules and before-handlers as declared.

-- name: resolve
select to_regclass(%(name)s)::oid, n.nspname, c.relname
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.oid = to_regclass(%(name)s);

-- name: watch
select rowcall.watch_v1(%(name)s::regclass, %(options)s, %(declared_by)s);

-- name: unwatch
select rowcall.unwatch_v1(%(name)s::regclass);

-- name: guard
select rowcall.guard_v1(%(name)s::regclass, %(rules)s, %(handlers)s, %(declared_by)s);

-- name: declared_watches
select r.oid::regclass::text from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
where w.declared_by = %(declared_by)s and r.dropped_at is null and exists (select from pg_class where oid = r.oid);

-- name: declared_guards
select distinct r.oid::regclass::text
from rowcall.relation as r
join (select relation, declared_by from rowcall.rule union select relation, declared_by from rowcall.before_handler) as g
  on g.relation = r.id
where g.declared_by = %(declared_by)s and r.dropped_at is null and exists (select from pg_class where oid = r.oid);

-- name: watches
select r.schema_name || '.' || r.table_name as "table", w.declared_by,
  coalesce(w.options -> 'exclude', '[]') as exclude, coalesce(w.options -> 'redact', '[]') as redact,
  coalesce((w.options ->> 'notify')::boolean, false) as notify,
  rowcall.capture_is_current_v1(r.id) as current
from rowcall.watch as w join rowcall.relation as r on r.id = w.relation
order by 1;
