-- What lags, and how large the log is.

-- name: backlog
-- Of each subscription the events after its cursor, counted up to a limit: by the index on xid, so that it costs the limit and
-- not the backlog. What a handler asks for is not known here, so events that it does not want count as well.
-- The claim on a subscription is a lock, see queries/delivery.sql.
select s.name, s.declared_by,
  exists (
    select from pg_locks
    where locktype = 'advisory' and classid = 1383036772 and objid = s.id::oid and objsubid = 2 and granted
      and database = (select oid from pg_database where datname = current_database())),
  least(b.waiting, %(limit)s), b.waiting > %(limit)s, b.oldest, p.parked, p.dead
from rowcall.subscription as s
join rowcall.cursor as c on c.subscription = s.id
cross join lateral (
  select count(*) as waiting, min(at) as oldest
  from (
    (select at from rowcall.event as e
     where e.xid = any (array(select pg_snapshot_xip(c.lower)))
       and (c.upper is null or e.seq > c.last_seq or not pg_visible_in_snapshot(e.xid, c.upper))
     order by e.xid limit %(limit)s + 1)
    union all
    (select at from rowcall.event as e
     where e.xid >= pg_snapshot_xmax(c.lower)
       and (c.upper is null or e.seq > c.last_seq or not pg_visible_in_snapshot(e.xid, c.upper))
     order by e.xid limit %(limit)s + 1)
    limit %(limit)s + 1
  ) as unread
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
