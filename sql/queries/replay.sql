-- Delivering again what was delivered before. A stretch of the log becomes a stage of the subscription's cursors, see
-- tables/subscription_v1.sql.

-- name: stretch
-- From the first event that is asked for to the end of the log.
select case when %(seq)s::bigint is not null then (select min(seq) from rowcall.event where seq >= %(seq)s::bigint)
    else (select min(seq) from rowcall.event where at >= %(at)s::timestamptz) end,
  (select max(seq) from rowcall.event);

-- name: stage
-- What of a subscription is not between windows: a stage, or a backfill that is not complete.
select case when s.ready then c.stage::text else 'incomplete' end
from rowcall.subscription as s join rowcall.cursor as c on c.subscription = s.id
where s.id = %(subscription)s and (c.stage is not null or not s.ready)
limit 1;

-- name: replay
-- What was set aside in that stretch counts as read, so it comes again in its place.
with set_aside as (
  delete from rowcall.parked where subscription = %(subscription)s and seq between %(first)s and %(last)s
)
update rowcall.cursor set stage = 'replay', stage_seq = %(first)s - 1, stage_until = %(last)s
where subscription = %(subscription)s
returning pg_notify('rowcall', '');

-- name: history
-- What a replay would deliver: events of the stretch that belong to that stage of the cursor which has the lane of their key, among
-- those that a handler wants.
select e.seq, e.xid::text::bigint, e.at, e.relation, e.operation::text, e.key, e.next_key, e.old, e.new, e.actor, e.context
from rowcall.event as e
cross join rowcall.installation as i
join rowcall.cursor as c on c.subscription = %(subscription)s and rowcall.at_home_v1(e.relation, e.key, c.lanes)
where e.seq between %(first)s and %(last)s
  and rowcall.in_stage_v1('replay', c.subscription, c.lower, c.upper, c.last_seq, i.floor_seq, e.seq, e.xid, e.operation, e.context)
  and e.relation = any (array(
    select id from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s))
  and e.operation = any (%(operations)s::rowcall.operation[])
order by e.seq;

-- name: written
-- What the current transaction, and those before it that are not counted elsewhere yet, wrote into which tables.
select schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del
from pg_stat_xact_all_tables where n_tup_ins + n_tup_upd + n_tup_del > 0;
