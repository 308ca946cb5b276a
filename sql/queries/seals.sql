-- Sealing the log, and reading it again to compare. See src/rowcall/audit/SEALS.md for what the bytes mean.

-- name: rendering
-- What follows "select" and stands before the source of events "e": the canonical bytes of those without erasable columns, the
-- parts of the others.
e.seq, e.xid::text::bigint, b.at, e.relation,
  case when not b.apart then
    convert_to(concat('rowcall-event-1 ', e.seq, ' ', e.xid, ' ', coalesce(b.at::text, 'infinity'), ' ', e.relation, ' ', e.operation, ' ',
      coalesce(octet_length(b.key)::text, '-'), ' ', coalesce(octet_length(b.next_key)::text, '-'), ' ',
      coalesce(octet_length(b.old)::text, '-'), ' ', coalesce(octet_length(b.new)::text, '-'), ' ',
      coalesce(octet_length(b.db_user)::text, '-'), ' ', coalesce(octet_length(b.db_role)::text, '-'), ' ',
      coalesce(octet_length(b.application_name)::text, '-'), E'\n'), 'UTF8')
    || coalesce(b.key, '') || coalesce(b.next_key, '') || coalesce(b.old, '') || coalesce(b.new, '')
    || coalesce(b.db_user, '') || coalesce(b.db_role, '') || coalesce(b.application_name, '')
  end,
  convert_to(e.actor, 'UTF8'), convert_to(e.context::text, 'UTF8'),
  case when b.apart then convert_to(e.operation::text, 'UTF8') end,
  case when b.apart then b.key end, case when b.apart then b.next_key end,
  case when b.apart then b.old end, case when b.apart then b.new end,
  case when b.apart then b.db_user end, case when b.apart then b.db_role end, case when b.apart then b.application_name end

-- name: parts
-- What follows the source of events "e": each converted once.
cross join lateral (
  select e.relation = any (%(erasable)s::integer[]) as apart,
    case when isfinite(e.at) then (extract(epoch from e.at) * 1000000)::bigint end as at,
    convert_to(e.key::text, 'UTF8') as key, convert_to(e.next_key::text, 'UTF8') as next_key,
    convert_to(e.old::text, 'UTF8') as old, convert_to(e.new::text, 'UTF8') as new,
    convert_to(e.db_user, 'UTF8') as db_user, convert_to(e.db_role, 'UTF8') as db_role,
    convert_to(e.application_name, 'UTF8') as application_name
  offset 0
) as b
;

-- name: planning
-- As the listener's reader has it, see postgres/log.py: without statistics the planner would scan all of the log. Nobody's functions
-- take the place of the server's own.
set local search_path = pg_catalog, pg_temp; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; set local jit = off;

-- name: take_turn
-- One seals at a time. Until the transaction's end, so that whoever dies makes room at once.
select pg_try_advisory_xact_lock(1383036771, 104);

-- name: wait_for_turn
select pg_advisory_xact_lock(1383036771, 104);

-- name: seals
select number, epoch, lower::text, upper::text, after_seq, complete, events, first_seq, last_seq, root, erasures, erasure_head, catalog,
  relations, xid::text::bigint, previous, head, (extract(epoch from sealed_at) * 1000000)::bigint, key_id, signature
from rowcall.seal
where number >= %(first)s and (%(last)s::bigint is null or number <= %(last)s)
order by number;

-- name: newest
select number, epoch, lower::text, upper::text, after_seq, complete, events, first_seq, last_seq, root, erasures, erasure_head, catalog,
  relations, xid::text::bigint, previous, head, (extract(epoch from sealed_at) * 1000000)::bigint, key_id, signature
from rowcall.seal
order by number desc limit 1;

-- name: seal_of
-- The seal that covers an event.
select s.number, array_position(l.seqs, %(seq)s) - 1
from rowcall.seal as s join rowcall.leaf as l on l.seal = s.number
where s.events > 0 and int8range(s.first_seq, s.last_seq, '[]') @> %(seq)s::bigint and l.seqs @> array[%(seq)s::bigint]
order by s.number limit 1;

-- name: moment
-- What a seal says beside its events.
select i.id::text, i.epoch, i.floor_seq, coalesce(i.anchor, '1:1:')::text, m.mark, coalesce(r.number, 0), r.head,
  (extract(epoch from clock_timestamp()) * 1000000)::bigint
from rowcall.installation as i
cross join rowcall.layout_mark as m
left join (select number, head from rowcall.erasure order by number desc limit 1) as r on true;

-- name: catalog
select r.id, r.schema_name, r.table_name from rowcall.relation as r order by r.id;

-- name: layouts
select relation, since, columns::text, key from rowcall.layout order by relation, since;

-- name: sealed_catalog
select number, catalog from rowcall.seal where catalog is not null and number <= %(last)s order by number;

-- name: pending
-- Whether there is something to seal, after the newest seal. Events up to the floor have transaction ids of another cluster.
select coalesce(not s.complete or s.epoch <> i.epoch, i.floor_seq > 0)
  or coalesce(s.erasures, 0) <> coalesce((select max(number) from rowcall.erasure), 0)
  or exists (
    select from rowcall.event as e
    where (e.xid >= coalesce(pg_snapshot_xmax(s.upper), '1') or e.xid = any (array(select pg_snapshot_xip(s.upper)))) and e.seq + 0 > i.floor_seq
  ), m.mark, coalesce(s.number, 0)
from rowcall.installation as i
cross join rowcall.layout_mark as m
left join (select * from rowcall.seal order by number desc limit 1) as s on true;

-- name: unsealed
-- How many events wait to be sealed, up to a limit, the oldest of them, the newest seal, and when it was made.
select count(u.at), min(u.at), max(s.number), max(s.sealed_at)
from rowcall.installation as i
left join (select * from rowcall.seal order by number desc limit 1) as s on true
left join lateral (
  (select e.at from rowcall.event as e
   where e.xid = any (array(select pg_snapshot_xip(s.upper))) and e.seq + 0 > i.floor_seq order by e.xid limit %(limit)s)
  union all
  (select e.at from rowcall.event as e
   where e.xid >= coalesce(pg_snapshot_xmax(s.upper), '1'::xid8) and e.seq + 0 > i.floor_seq order by e.xid limit %(limit)s)
  union all
  -- The rest of a window that several seals share.
  (select e.at from rowcall.event as e
   where not s.complete and e.seq > s.last_seq and s.lower::text <> s.upper::text
     and (e.xid >= pg_snapshot_xmax(s.lower) or e.xid = any (array(select pg_snapshot_xip(s.lower))))
     and pg_visible_in_snapshot(e.xid, s.upper) order by e.seq limit %(limit)s)
) as u on true;

-- name: new_window
-- Opens a window, see queries/log.sql: what is visible now and was not in the lower snapshot, in seq order, the first slice.
select s.upper::text, r.*
from (select pg_current_snapshot() as upper) as s
left join lateral (
  select {rendering}
  from (
    select * from rowcall.event
    where ((xid >= %(xmax)s::xid8 and xid < pg_snapshot_xmax(s.upper)) or xid = any (%(xip)s::xid8[])) and seq + 0 > %(floor)s
    order by seq + 0 limit %(limit)s
  ) as e {parts}
) as r on true
order by r.seq;

-- name: next_slice
-- Goes on in a window after the last seq that is sealed.
select %(upper)s::text, r.*
from (
  select {rendering}
  from (
    select * from rowcall.event
    where seq > greatest(%(after)s, %(floor)s) and (xid >= %(xmax)s::xid8 or xid = any (%(xip)s::xid8[]))
      and pg_visible_in_snapshot(xid, %(upper)s::pg_snapshot)
    order by seq limit %(limit)s
  ) as e {parts}
) as r
order by r.seq;

-- name: restored_slice
-- What a dump brought that was not sealed when it was made.
select %(upper)s::text, r.*
from (
  select {rendering}
  from (
    select e.* from rowcall.event as e
    where e.seq > %(after)s and e.seq <= %(floor)s
      and not exists (select from rowcall.leaf as l cross join unnest(l.seqs) as sealed where sealed = e.seq)
    order by e.seq limit %(limit)s
  ) as e {parts}
) as r
order by r.seq;

-- name: xid
select pg_current_xact_id()::text::bigint;

-- name: insert
insert into rowcall.seal (number, epoch, lower, upper, after_seq, complete, events, first_seq, last_seq, root, erasures, erasure_head,
  catalog, relations, xid, previous, head, sealed_at, key_id, signature)
values (%(number)s, %(epoch)s, %(lower)s, %(upper)s, %(after_seq)s, %(complete)s, %(events)s, %(first_seq)s, %(last_seq)s, %(root)s,
  %(erasures)s, %(erasure_head)s, %(catalog)s, %(relations)s, %(xid)s::text::xid8, %(previous)s, %(head)s,
  timestamptz '1970-01-01 00:00:00+00' + %(sealed_at)s * interval '1 microsecond', %(key_id)s, %(signature)s);

-- name: insert_leaves
insert into rowcall.leaf (seal, seqs, hashes) values (%(seal)s, %(seqs)s, %(hashes)s);

-- name: insert_salts
insert into rowcall.salt (seal, salts) values (%(seal)s, %(salts)s);

-- name: leaves
-- Of one seal: null where there are none any more.
select l.seqs, l.hashes, t.salts
from (select %(seal)s::bigint as seal) as s
left join rowcall.leaf as l on l.seal = s.seal
left join rowcall.salt as t on t.seal = s.seal;

-- name: range
-- Events between two places, to be compared with their leaves.
select {rendering}
from rowcall.event as e {parts}
where e.seq between %(first)s and %(last)s;

-- name: archived
-- The same of what rowcall.audit.archives has put beside the log, and the number of the file.
select {rendering}, e.file
from pg_temp.rowcall_archived as e {parts}
where e.seq between %(first)s and %(last)s;

-- name: erased
select seq, path, erasure, commitment, salt from rowcall.erased where seq between %(first)s and %(last)s;

-- name: erasures
select number, kind, (extract(epoch from at) * 1000000)::bigint, erased_by, relation, paths::text, seqs::text, events, previous, head
from rowcall.erasure order by number;

-- name: unaccounted
-- Events that some seal should cover, by their transactions, and none does: put there afterwards. And those of transactions that
-- have not been yet.
select e.seq, e.xid::text::bigint, (select schema_name || '.' || table_name from rowcall.relation where id = e.relation), e.operation::text
from rowcall.event as e
left join (select unnest(seqs) as seq from rowcall.leaf where seal in (select number from rowcall.seal where number > 0)) as l on l.seq = e.seq
where l.seq is null and (
  (e.seq > %(floor)s and not (e.xid >= %(xmax)s::xid8 or e.xid = any (%(xip)s::xid8[])))
  or (%(upper)s::pg_snapshot is not null and e.seq > %(floor)s and e.seq <= %(last_seq)s and pg_visible_in_snapshot(e.xid, %(upper)s::pg_snapshot))
  or (e.seq <= %(floor)s and %(restored_until)s::bigint >= e.seq)
  or e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
order by e.seq limit %(limit)s;

-- name: misplaced
-- Events in partitions of another time, where questions about their time do not look.
-- Materialized, or a partition's bounds are read anew for each of its events.
with partition as materialized (
  select i.inhrelid, substring(b.bounds from $bound$FROM \('([^']+)'\)$bound$)::timestamptz as lower,
    substring(b.bounds from $bound$TO \('([^']+)'\)$bound$)::timestamptz as upper
  from pg_inherits as i
  join pg_class as c on c.oid = i.inhrelid
  cross join lateral (select pg_get_expr(c.relpartbound, c.oid)) as b (bounds)
  where i.inhparent = 'rowcall.event'::regclass
)
select e.seq, e.tableoid::regclass::text
from rowcall.event as e join partition as p on p.inhrelid = e.tableoid
where e.at < p.lower or e.at >= p.upper
order by e.seq limit %(limit)s;

-- name: is_moved
-- Whether this is a database out of a dump, of which no listener knows yet: see tables/cluster_v1.sql.
select i.mark is distinct from c.mark and i.system is distinct from c.system
from rowcall.installation as i cross join rowcall.cluster as c;

-- name: hold
-- No partition leaves the log, and none is altered, until the transaction ends.
lock table rowcall.event in access share mode;

-- name: layout_use
-- An event that was in the log, for a while, before the layout that is said to be its own.
select min(seq) from rowcall.event
where relation = %(relation)s and seq > %(since)s and seq <= %(reached)s
  and at < timestamptz '1970-01-01 00:00:00+00' + %(before)s * interval '1 microsecond';

-- name: erasure_moment
-- What a record of an erasure says beside what is erased.
select i.id::text, coalesce(r.number, 0), r.head, session_user::text, (extract(epoch from clock_timestamp()) * 1000000)::bigint
from rowcall.installation as i
left join (select number, head from rowcall.erasure order by number desc limit 1) as r on true;

-- name: insert_erasure
insert into rowcall.erasure (number, kind, at, erased_by, xid, relation, paths, seqs, events, previous, head)
values (%(number)s, %(kind)s, timestamptz '1970-01-01 00:00:00+00' + %(at)s * interval '1 microsecond', %(erased_by)s,
  pg_current_xact_id(), %(relation)s, %(paths)s::jsonb, %(seqs)s::int8multirange, %(events)s, %(previous)s, %(head)s);

-- name: seal_count
select max(number), coalesce(sum(events), 0) from rowcall.seal
where number >= %(first)s and (%(last)s::bigint is null or number <= %(last)s);

-- name: highest
-- The highest place in the log that is sealed, by seals up to one of them.
select max(last_seq) from rowcall.seal where number <= %(last)s;

-- name: leaving
-- Which events tables have that do not stay as they are, how many, how many of them are not sealed, the places of those for which
-- something else stands from now on, and whether there are any seals.
with left_over as (
  select k.seq, k.operation = w.operation and not exists (select from rowcall.erasure as r where r.kind = 'prune' and r.seqs @> k.seq) as whole
  from {kept} as k join ({source}) as w on w.seq = k.seq
), part as (
  select e.seq, l.seq is not null as sealed, e.seq - row_number() over (order by e.seq) as island
  from ({source}) as e
  left join (select unnest(seqs) as seq from rowcall.leaf where seal in (select number from rowcall.seal where number > 0)) as l on l.seq = e.seq
  where not exists (select from left_over as k where k.seq = e.seq and k.whole)
), islands as (
  select int8range(min(seq), max(seq), '[]') as range, count(*) as events, count(*) filter (where not sealed) as unsealed
  from part group by island
)
select coalesce(range_agg(range), '{{}}')::text, coalesce(sum(events), 0)::bigint, coalesce(sum(unsealed), 0)::bigint,
  (select coalesce(array_agg(seq order by seq), '{{}}') from left_over where not whole), exists (select from rowcall.seal)
from islands;

-- name: kept
-- What stands for dropped events.
select {rendering}
from {kept} as e {parts}
where e.seq = any (%(seqs)s::bigint[]);
