-- Who reads the log: finding, dropping and renaming subscriptions.

-- name: found
select id from rowcall.subscription where name = %(name)s;

-- name: registered
select s.name, s.created_at, (select count(*) from rowcall.skipped as k where k.subscription = s.id)
from rowcall.subscription as s;

-- name: reserve
-- The claim of queries/delivery.sql, to the end of this transaction: until then no listener takes the subscription.
select case when not exists (
    select from rowcall.live_worker as l join rowcall.worker as w using (id)
    where w.subscription = %(subscription)s and not w.locked
  ) then pg_try_advisory_xact_lock(1383036772, %(subscription)s) end;

-- name: holder
-- The server's process that has the claim. Of sessions of others, only some logins may see more than that.
select l.pid, a.application_name, host(a.client_addr), a.client_port
from pg_locks as l left join pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory' and l.classid = 1383036772 and l.objid = %(subscription)s::oid and l.objsubid = 2 and l.granted
  and l.database = (select oid from pg_database where datname = current_database());

-- name: holding_process
-- The same of those who have no session of their own.
select process from rowcall.live_worker where subscription = %(subscription)s limit 1;

-- name: drop
delete from rowcall.subscription where id = %(subscription)s;

-- name: rename
update rowcall.subscription set name = %(new)s where id = %(subscription)s;
