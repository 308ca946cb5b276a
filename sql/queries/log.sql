-- Reading the log and the declarations that give its rows a meaning.

-- name: layouts
-- Every layout of every relation, oldest first.
select l.relation, r.schema_name, r.table_name, l.since, l.columns, l.key
from rowcall.layout as l join rowcall.relation as r on r.id = l.relation
order by l.relation, l.since;

-- name: layout_mark
select mark from rowcall.layout_mark;

-- name: installation
select id::text, pg_is_in_recovery() from rowcall.installation;

-- name: new_window
-- Opens a window: what this statement's snapshot sees and the cursor's lower one did not, in seq order, the first slice of
-- it; a row of nulls where it is empty. pg_current_snapshot() is the snapshot the statement itself reads by.
-- "seq + 0" keeps the planner from walking the log in seq order to look for the window: the index on xid leads to it, and
-- opening costs one pass over the window, however long the log is.
select s.upper::text, s.mark, e.*
from (
  select pg_current_snapshot() as upper, mark from rowcall.layout_mark
) as s
left join lateral (
  select seq, xid::text, at, relation, operation::text, key, next_key, old, new, actor, context
  from rowcall.event
  where (xid >= %(xmax)s::xid8 or xid = any (%(xip)s::xid8[]))
    and relation = any (array(
      select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
    and operation = any (%(operations)s::rowcall.operation[])
    and (%(columns)s::text[] is null or operation <> 'update' or old::jsonb ?| %(columns)s::text[])
  order by seq + 0 limit %(limit)s
) as e on true
order by e.seq;

-- name: next_slice
-- Goes on in an open window after the last seq delivered, by the index on seq.
select %(upper)s::text, (select mark from rowcall.layout_mark),
  seq, xid::text, at, relation, operation::text, key, next_key, old, new, actor, context
from rowcall.event
where seq > %(last_seq)s
    and (xid >= %(xmax)s::xid8 or xid = any (%(xip)s::xid8[]))
    and pg_visible_in_snapshot(xid, %(upper)s::pg_snapshot)
    and relation = any (array(
      select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
    and operation = any (%(operations)s::rowcall.operation[])
    and (%(columns)s::text[] is null or operation <> 'update' or old::jsonb ?| %(columns)s::text[])
order by seq limit %(limit)s;

-- name: by_seq
select seq, xid::text, at, relation, operation::text, key, next_key, old, new, actor, context
from rowcall.event where seq = any (%(seqs)s) order by seq;
