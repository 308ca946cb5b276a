-- What lags, and how large the log is.

-- name: backlog
-- Of each subscription the events after its cursors, counted up to a limit: by the index on xid, so that it costs the limit and
-- not the backlog. What a handler asks for is not known here, so events that it does not want count as well.
-- A listener holds a lock of each subscription it delivers, see queries/claims.sql.
select s.name, s.declared_by,
  exists (
    select from pg_locks
    where locktype = 'advisory' and classid = 1383036772 and objid = s.id::oid and objsubid = 2 and granted
      and database = (select oid from pg_database where datname = current_database()))
  or exists (select from rowcall.live_worker as w where w.subscription = s.id),
  least(b.waiting, %(limit)s), b.waiting > %(limit)s, b.oldest, p.parked, p.dead
from rowcall.subscription as s
cross join rowcall.installation as i
cross join lateral (
  select sum(unread.waiting)::bigint as waiting, min(unread.oldest) as oldest
  from rowcall.cursor as c
  cross join lateral (
    select count(*) as waiting, min(at) as oldest
    from (
      (select at from rowcall.event as e
       where e.xid = any (array(select pg_snapshot_xip(c.lower))) and c.stage is distinct from 'restored' and e.seq + 0 > i.floor_seq
         and (c.upper is null or e.seq > c.last_seq or not pg_visible_in_snapshot(e.xid, c.upper))
         and rowcall.at_home_v1(e.relation, e.key, c.lanes)
       order by e.xid limit %(limit)s + 1)
      union all
      (select at from rowcall.event as e
       where e.xid >= pg_snapshot_xmax(c.lower) and c.stage is distinct from 'restored' and e.seq + 0 > i.floor_seq
         and (c.upper is null or e.seq > c.last_seq or not pg_visible_in_snapshot(e.xid, c.upper))
         and rowcall.at_home_v1(e.relation, e.key, c.lanes)
       order by e.xid limit %(limit)s + 1)
      union all
      -- What comes before the windows, see the query stage_slice of queries/log.sql.
      (select at from rowcall.event as e
       where c.stage is not null and e.seq > c.stage_seq and e.seq <= c.stage_until
         and rowcall.in_stage_v1(c.stage, s.id, c.lower, c.upper, c.last_seq, i.floor_seq, e.seq, e.xid, e.operation, e.context)
         and rowcall.at_home_v1(e.relation, e.key, c.lanes)
       order by e.seq limit %(limit)s + 1)
      limit %(limit)s + 1
    ) as places
  ) as unread
  where c.subscription = s.id
) as b
cross join lateral (
  select count(*) filter (where not dead) as parked, count(*) filter (where dead) as dead
  from rowcall.parked where subscription = s.id
) as p
order by s.name;

-- name: log
-- The log by the catalog: tables watched, events as far as PostgreSQL counted them, bytes, and where the last partition begins,
-- which reaches to the end of time; null if there is none.
select
  (select count(*) from rowcall.watch as w join rowcall.relation as r on r.id = w.relation where r.dropped_at is null),
  coalesce(sum(greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0)), 0)::bigint,
  coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint,
  max(substring(pg_get_expr(c.relpartbound, c.oid) from $$FROM \('([^']+)'\) TO \(MAXVALUE\)$$)::timestamptz)
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
where i.inhparent = 'rowcall.event'::regclass;
