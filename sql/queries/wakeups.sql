-- The doorbell, from the sleeper's side. See functions/bell_v1.sql for the writer's.

-- name: lie_down
-- Always by try: a blocked wait would make every writer ring. "asleep" if the lock is ours, "another" if another process
-- sleeps by it, "open" if a writer in the middle of something holds it, who will not ring.
select case
  when pg_try_advisory_lock(1383036771, 0) then 'asleep'
  when exists (
    select from pg_locks
    where locktype = 'advisory' and classid = 1383036771 and objid = 0 and mode = 'ExclusiveLock' and granted
      and database = (select oid from pg_database where datname = current_database())
  ) then 'another'
  else 'open'
end;

-- name: get_up
select case when pg_advisory_unlock(1383036771, 0) then 'up' end;

-- name: ring
-- For what is due though nobody wrote: at every listener's, also those that doze, since a person waits.
select pg_notify('rowcall', '');

-- name: doorbell_possible
-- A transaction that sent NOTIFY cannot be PREPAREd: where that could be asked for, nobody sleeps and nobody rings.
select current_setting('max_prepared_transactions')::integer = 0;
