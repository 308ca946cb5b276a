-- Who delivers which lanes of which subscription. See tables/subscription_v1.sql.

-- name: enlist
-- Locks before it is seen by anybody: that the subscription is in use, so that nobody drops it, and that this worker is alive. The
-- locks belong to the session that delivers: when that ends, so does the claim, and nothing more can commit.
with drawn as (
  select s.id as subscription, nextval(pg_get_serial_sequence('rowcall.worker', 'id'))::integer as worker
  from rowcall.subscription as s where s.name = %(name)s
), locked as (
  select d.*, case when %(locked)s
    then pg_try_advisory_lock_shared(1383036772, d.subscription) and pg_try_advisory_lock(1383036774, d.worker) else true end as free
  from drawn as d
), enlisted as (
  insert into rowcall.worker (id, subscription, lanes, process, locked, sessions)
  select l.worker, l.subscription, %(lanes)s, %(process)s, %(locked)s, pg_backend_pid() || %(sessions)s::integer[]
  from locked as l where l.free
  returning id
)
select l.subscription, (select id from enlisted) from locked as l;

-- name: beat
-- Says that these workers are alive, and tells each of them which others of its subscription are, with the most lanes they
-- take and their processes, and who has how many lanes.
with seen as (
  update rowcall.worker set seen_at = clock_timestamp() where id = any (%(workers)s) returning id, subscription
)
select s.id,
  (select jsonb_agg(jsonb_build_array(w.id, w.lanes, w.process))
   from rowcall.worker as w
   where w.subscription = s.subscription
     and (w.id = s.id or exists (select from rowcall.live_worker as l where l.id = w.id))),
  (select jsonb_agg(jsonb_build_array(c.owner, cardinality(c.lanes))) from rowcall.cursor as c where c.subscription = s.subscription)
from seen as s;

-- name: await_end
-- Returns when a worker's session has ended: until then that has the lock.
select pg_advisory_unlock_shared(1383036774, %(worker)s)
from (select pg_advisory_lock_shared(1383036774, %(worker)s) offset 0) as got;

-- name: end_dead
-- Ends the sessions of dead workers, and waits for it: one that is frozen holds its locks until then, and the doorbell's.
select w.process, pg_terminate_backend(a.pid, 1000)
from rowcall.worker as w
join pg_stat_activity as a on a.pid = any (w.sessions) and a.backend_start <= w.enlisted_at and a.application_name like 'rowcall %%'
where w.subscription = %(subscription)s and w.locked and not exists (select from rowcall.live_worker as l where l.id = w.id);

-- name: claim
select cursor, left_behind from rowcall.claim_v1(%(worker)s, %(most)s);

-- name: release
select rowcall.release_v1(%(worker)s, %(kept)s);

-- name: merge
select rowcall.merge_v1(%(worker)s);

-- name: mine
select id, lanes, epoch, lower::text, upper::text, last_seq, number, stage::text, stage_seq, stage_until,
  restored_seq, restored_until
from rowcall.cursor where owner = %(worker)s order by id;

-- name: all
select id, lanes, epoch, lower::text, upper::text, last_seq, number, stage::text, stage_seq, stage_until,
  restored_seq, restored_until
from rowcall.cursor
where subscription = %(subscription)s and exists (select from rowcall.subscription as s where s.id = subscription and s.ready)
order by id;

-- name: free
-- The cursors that nobody who is alive has.
select c.id from rowcall.cursor as c
where c.subscription = %(subscription)s
  and (c.owner is null or not exists (select from rowcall.live_worker as l where l.id = c.owner));

-- name: is_enlisted
select exists (select from rowcall.worker where id = %(worker)s),
  exists (select from rowcall.subscription where id = %(subscription)s and name = %(name)s);

-- name: open_window
-- The next window of lanes that are apart: whether the lanes are still held, without which nobody may open one, since numbers begin
-- anew once lanes are together; and whether it was opened, or another worker was first.
with held as (
  select c.subscription from rowcall.cursor as c where c.id = %(cursor)s and c.epoch = %(epoch)s for share
), opened as (
  insert into rowcall.window (subscription, number, upper)
  select h.subscription, %(number)s, %(upper)s from held as h
  on conflict do nothing returning number
)
select exists (select from held), exists (select from opened);

-- name: prune_windows
delete from rowcall.window as w
where w.subscription = %(subscription)s
  and w.number <= (select min(c.number) from rowcall.cursor as c where c.subscription = %(subscription)s);

-- name: suspects
-- What was being handled when its process died: how many of the processes that tried are gone, why one gave itself up, and in how
-- many seconds those that only lost their connection must have been seen again. What this process itself was at then is none.
with cleared as (
  delete from rowcall.suspect where subscription = %(subscription)s and process = %(process)s and error is null
)
select s.seq, count(*) filter (where s.process <> 'cut' and not exists (select from rowcall.live_worker as l where l.process = s.process)), max(s.error),
  5 - extract(epoch from clock_timestamp() - max(s.marked_at))::float8
from rowcall.suspect as s
where s.subscription = %(subscription)s and not (s.process = %(process)s and s.error is null)
group by s.seq;

-- name: suspect
insert into rowcall.suspect as s (subscription, seq, process, error)
select %(subscription)s, seq, %(process)s, %(error)s from unnest(%(seqs)s::bigint[]) as u (seq)
on conflict (subscription, seq, process) do update
set marked_at = clock_timestamp(), error = coalesce(excluded.error, s.error);
