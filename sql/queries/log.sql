-- Reading the log and the declarations that give its rows a meaning.

-- name: layouts
-- Every layout of every relation, oldest first.
select l.relation, r.schema_name, r.table_name, l.since, l.columns, l.key
from rowcall.layout as l join rowcall.relation as r on r.id = l.relation
order by l.relation, l.since;

-- name: layout_mark
select mark from rowcall.layout_mark;

-- name: installation
select id::text, pg_is_in_recovery(), floor_seq, anchor::text from rowcall.installation;

-- name: new_window
-- Opens a window: what its upper snapshot sees and the cursor's lower one did not, in seq order, the first slice of it; a row of
-- nulls where it is empty. The upper one is that of the window other lanes have opened already, else pg_current_snapshot(),
-- which is the snapshot the statement itself reads by.
-- "seq + 0" keeps the planner from walking the log in seq order to look for the window: the index on xid leads to it, and
-- opening costs one pass over the window, however long the log is.
-- Both ends of the window are in one arm of the OR: the upper one by itself would be all of the log.
select s.upper::text, s.mark, s.opened, e.*
from (
  select coalesce(w.upper, pg_current_snapshot()) as upper, w.upper is not null as opened, m.mark
  from rowcall.layout_mark as m
  left join rowcall.window as w on w.subscription = %(subscription)s and w.number = %(number)s
) as s
left join lateral (
  select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context,
    case when %(lanes)s::integer[] is not null then rowcall.lane_v1(relation, key) end as lane,
    case when %(lanes)s::integer[] is not null and next_key is not null then rowcall.lane_v1(relation, next_key) end as next_lane
  from rowcall.event
  where (xid >= %(xmax)s::xid8 and xid < pg_snapshot_xmax(s.upper) or xid = any (%(xip)s::xid8[]))
    and (not s.opened or pg_visible_in_snapshot(xid, s.upper))
    and seq + 0 > %(floor)s
    and relation = any (array(
      select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
    and operation = any (%(operations)s::rowcall.operation[])
    and not rowcall.of_backfill_v1(operation, context)
    and (%(columns)s::text[] is null or operation <> 'update' or old::jsonb ?| %(columns)s::text[])
    and rowcall.in_lanes_v1(relation, key, next_key, %(lanes)s)
  order by seq + 0 limit %(limit)s
) as e on true
order by e.seq;

-- name: next_slice
-- Goes on in an open window after the last seq delivered, by the index on seq.
select %(upper)s::text, (select mark from rowcall.layout_mark), true,
  seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context,
  case when %(lanes)s::integer[] is not null then rowcall.lane_v1(relation, key) end,
  case when %(lanes)s::integer[] is not null and next_key is not null then rowcall.lane_v1(relation, next_key) end
from rowcall.event
where seq > greatest(%(last_seq)s, %(floor)s)
    and (xid >= %(xmax)s::xid8 or xid = any (%(xip)s::xid8[]))
    and pg_visible_in_snapshot(xid, %(upper)s::pg_snapshot)
    and relation = any (array(
      select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
    and operation = any (%(operations)s::rowcall.operation[])
    and not rowcall.of_backfill_v1(operation, context)
    and (%(columns)s::text[] is null or operation <> 'update' or old::jsonb ?| %(columns)s::text[])
    and rowcall.in_lanes_v1(relation, key, next_key, %(lanes)s)
order by seq limit %(limit)s;

-- name: stage_slice
-- Goes on in a stretch of the log that comes before the windows: the rows of a backfill, or what was delivered already and shall
-- be again, or what was not delivered yet when the log was restored.
select null, (select mark from rowcall.layout_mark), true,
  seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context,
  case when %(lanes)s::integer[] is not null then rowcall.lane_v1(relation, key) end,
  case when %(lanes)s::integer[] is not null and next_key is not null then rowcall.lane_v1(relation, next_key) end
from rowcall.event
where seq > %(stage_seq)s and seq <= %(stage_until)s
    and relation = any (array(
      select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
    and operation = any (%(operations)s::rowcall.operation[])
    and rowcall.in_stage_v1(%(stage)s, %(subscription)s, %(lower)s, %(upper)s, %(last_seq)s, %(floor)s, seq, xid, operation, context)
    and (%(columns)s::text[] is null or operation <> 'update' or old::jsonb ?| %(columns)s::text[])
    and rowcall.in_lanes_v1(relation, key, next_key, %(lanes)s)
order by seq limit %(limit)s;

-- name: by_seq
select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context
from rowcall.event where seq = any (%(seqs)s) order by seq;
