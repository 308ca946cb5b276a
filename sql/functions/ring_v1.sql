-- The doorbell, once a statement: NOTIFY takes a lock of the whole cluster at commit, so it is sent only when a
-- listener sleeps. A sleeper holds the lock exclusively; who gets it shared knows that nobody sleeps, and
-- keeps it to its commit, so that nobody falls asleep before its events can be seen.
-- Runs with the writer's rights: advisory locks and NOTIFY are everybody's. Cost: one lock.
-- Called by: statement triggers of watched tables.
create function rowcall.ring_v1() returns trigger
language plpgsql
as $$
begin
  if not pg_catalog.pg_try_advisory_xact_lock_shared(1383036771, 0) then
    perform pg_catalog.pg_notify('rowcall', '');
  end if;
  return null;
end $$;
