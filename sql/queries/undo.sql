-- Taking changes back.

-- name: events
-- The events to undo: of a transaction, or by their places.
select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context
from rowcall.event
where case when %(transaction)s::xid8 is not null then xid = %(transaction)s::xid8 else seq = any (%(seqs)s::bigint[]) end
order by seq;

-- name: table
-- A relation's table as it is now, with its watch; no row where it is gone or not watched.
select c.oid::bigint, n.nspname, c.relname, c.relkind = 'p', w.options
from rowcall.relation as r
join rowcall.watch as w on w.relation = r.id
join pg_class as c on c.oid = r.oid
join pg_namespace as n on n.oid = c.relnamespace
where r.id = %(relation)s and r.dropped_at is null;

-- name: columns
-- The columns of a table, in the order of literals_v1, and whether they are generated.
select a.attname::text, format_type(a.atttypid, -1), c.name is not null, coalesce(c.redacted, false),
  a.attnotnull and not a.atthasdef and a.attidentity = '', k.key_position, k.same,
  a.attgenerated <> ''
from pg_attribute as a
left join rowcall.columns_v1(%(oid)s::bigint::oid, %(options)s) as c on c.name = a.attname::text
left join rowcall.key_order_v1(%(oid)s::bigint::oid, %(options)s) as k on k.name = a.attname::text
where a.attrelid = %(oid)s::bigint::oid and a.attnum > 0 and not a.attisdropped
order by a.attnum;

-- name: literals
select n, literals from rowcall.literals_v1(%(oid)s::bigint::oid, %(images)s::jsonb[]);

-- name: live_literals
select n, literals from rowcall.live_literals_v1(%(oid)s::bigint::oid, %(options)s, %(images)s::jsonb[]);

-- name: later
-- What happened to rows since: of a few rows by the index on keys, of many in one pass over what was logged since. An array, since
-- a join with what is taken for many rows would read the log from end to end.
select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context
from rowcall.event
where seq = any (array(
  select e.seq
  from unnest(%(keys)s::jsonb[]) as k (key)
  cross join lateral (
    select seq from rowcall.event
    where relation = %(relation)s and seq > %(first)s and operation <> 'snapshot'
      and (event.key @> k.key or event.next_key @> k.key)
  ) as e
  where cardinality(%(keys)s::jsonb[]) <= 100
  union all
  select seq from rowcall.event
  where relation = %(relation)s and seq > %(first)s and operation <> 'snapshot'
    and (key = any (%(keys)s::jsonb[]) or next_key = any (%(keys)s::jsonb[]))
    and cardinality(%(keys)s::jsonb[]) > 100
))
order by seq;

-- name: own_transaction
select pg_current_xact_id_if_assigned()::text::bigint;
