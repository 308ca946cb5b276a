-- The doorbell: NOTIFY takes a lock of the whole cluster at commit, so it is sent only when a listener sleeps. A sleeper
-- holds the lock exclusively; who gets it shared knows that nobody sleeps, and keeps it to its commit, so that nobody
-- falls asleep before its events can be seen. Taking it again costs a look into the backend's own memory, and of equal
-- notifications of one transaction PostgreSQL keeps the first, so it is rung for every row without a trigger of its own.
-- Called by: the rarer capture functions; the generated ones say the same without a call. Cost: one lock.
create function rowcall.bell_v1() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_try_advisory_xact_lock_shared(1383036771, 0) then
    perform pg_notify('rowcall', '');
  end if;
end $$;
