-- Retention, see functions/prune_v1.sql.

-- name: lock
-- Whoever takes something out of the log or its archives does so alone: others would put back what is erased, or take the same
-- partitions. See queries/wakeups.sql for the class.
select pg_try_advisory_lock(1383036771, 105);

-- name: unlock
select pg_advisory_unlock(1383036771, 105);

-- name: begins_at
-- Where the log begins: before it, it has of each row its last event only. Null if it was never pruned.
select max(upper) from rowcall.pruned where dropped_at is not null;

-- name: is_absent
-- Whether a partition is out of the log, or on its way, and what is kept of it not yet in its place.
select exists (
  select from rowcall.pruned as p
  where p.dropped_at is null and not exists (
    select from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'rowcall.event'::regclass and c.relname = p.partition and not i.inhdetachpending));

-- name: again
-- The number of a planned partition that had the same bounds when an earlier prune archived it: the log's first one, with what was kept.
select p.id from rowcall.pruned as p
where p.partition = %(partition)s and p.dropped_at is null and exists (
  select from rowcall.pruned as d where d.dropped_at is not null and d.partition = p.partition and d.upper = p.upper);

-- name: contents
select count(*), min(seq), max(seq) from {partition};

-- name: planned
select partition, lower, upper, archive, events, sha256 from rowcall.pruned where dropped_at is null order by upper;

-- name: cut
select now() - %(keep)s::interval, %(keep)s::interval > interval '0';

-- name: partitions
-- Those that end before a moment; none where that was done before, and only what is kept is left.
select name, lower, upper, state from rowcall.log_partitions_v1()
where upper <= %(before)s and state = 'attached'
  and (select max(p.upper) from rowcall.log_partitions_v1() as p where p.upper <= %(before)s)
    > coalesce((select max(d.upper) from rowcall.pruned as d where d.dropped_at is not null), '-infinity')
order by upper;

-- name: state
select state from rowcall.log_partitions_v1() where name = %(partition)s;

-- name: plan
insert into rowcall.pruned (partition, lower, upper) values (%(partition)s, %(lower)s, %(upper)s);

-- name: archived
update rowcall.pruned
set archive = %(archive)s, events = %(events)s, first_seq = %(first_seq)s, last_seq = %(last_seq)s, sha256 = %(sha256)s
where partition = %(partition)s and dropped_at is null;

-- name: keep
select rowcall.keep_rows_v1(%(partitions)s);

-- name: finish
select rowcall.finish_prune_v1(%(upper)s);

-- name: columns
select array_agg(attname::text order by attnum) from pg_attribute
where attrelid = 'rowcall.event'::regclass and attnum > 0 and not attisdropped;

-- name: settings
-- As the archive's text is written, whoever runs it.
select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true);

-- name: catalog
-- What the numbers of relations stand for, and what their images mean.
select (select id::text from rowcall.installation), coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'schema', r.schema_name, 'table',
  r.table_name, 'layouts', (select jsonb_agg(jsonb_build_object('since', l.since, 'columns', l.columns, 'key', l.key) order by l.since)
    from rowcall.layout as l where l.relation = r.id)) order by r.id), '[]')
from rowcall.relation as r;

-- name: unread
-- Subscriptions that have yet to read something before a moment, see queries/status.sql.
select distinct s.name
from rowcall.subscription as s
join rowcall.cursor as c on c.subscription = s.id
cross join rowcall.installation as i
where not s.ready
  or c.stage is not null and exists (
    select from rowcall.event as e where e.at < %(upper)s and e.seq > c.stage_seq and e.seq <= c.stage_until)
  or c.restored_until <> 0
  or exists (
    select from rowcall.event as e
    where (e.xid >= pg_snapshot_xmax(c.lower) or e.xid = any (array(select pg_snapshot_xip(c.lower)))) and e.seq + 0 > i.floor_seq
      and (c.upper is null or e.seq > c.last_seq or not pg_visible_in_snapshot(e.xid, c.upper)) and e.at < %(upper)s)
order by 1;

-- name: set_aside
select s.name, count(*)
from rowcall.parked as p
join rowcall.subscription as s on s.id = p.subscription
join rowcall.event as e on e.seq = p.seq
where e.at < %(upper)s
group by s.name order by s.name;

-- name: based
-- Tables whose baseline is not complete: what it has written counts from its beginning on.
select r.schema_name || '.' || r.table_name
from rowcall.baseline as b join rowcall.relation as r on r.id = b.relation
where not b.done and b.begun_at < %(upper)s order by 1;

-- name: is_sealed
select to_regclass('rowcall.seal') is not null;

-- name: unsealed
select exists (
  select from (select upper, after_seq, complete, last_seq from rowcall.seal order by number desc limit 1) as s
  join rowcall.event as e on (e.xid >= pg_snapshot_xmax(s.upper) or e.xid = any (array(select pg_snapshot_xip(s.upper)))
    or not s.complete and e.seq > s.last_seq)
  where e.at < %(upper)s and e.seq > (select floor_seq from rowcall.installation));
