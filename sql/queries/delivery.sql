-- Subscriptions, their cursors and what they set aside.

-- name: create_subscription
-- A new subscription starts at this moment, which the caller took before this transaction had an id of its own.
with created as (
  insert into rowcall.subscription (name, declared_by) values (%(name)s, %(declared_by)s)
  on conflict (name) do nothing returning id
)
insert into rowcall.cursor (subscription, lower)
select id, %(lower)s from created;

-- name: snapshot
select pg_current_snapshot()::text;

-- name: claim
-- The lock belongs to the session that delivers: when that session ends, so does the claim, and nothing more can commit.
select case when pg_try_advisory_lock(1383036772, s.id) then s.id end
from rowcall.subscription as s where s.name = %(name)s;

-- name: cursor
select lower::text, upper::text, last_seq from rowcall.cursor where subscription = %(subscription)s;

-- name: advance
update rowcall.cursor
set lower = %(lower)s, upper = %(upper)s, last_seq = %(last_seq)s, delivered = delivered + %(delivered)s
where subscription = %(subscription)s;

-- name: park
insert into rowcall.parked (subscription, seq, relation, key, attempts, due_at, error)
values (%(subscription)s, %(seq)s, %(relation)s, %(key)s, %(attempts)s,
  clock_timestamp() + make_interval(secs => %(delay)s), %(error)s);

-- name: parked_keys
select distinct relation, key from rowcall.parked where subscription = %(subscription)s;

-- name: due
-- The head of each key whose time has come; what waits behind it is not due before it.
select head.seq, head.attempts
from (
  select distinct on (relation, key) seq, attempts, due_at, dead
  from rowcall.parked where subscription = %(subscription)s
  order by relation, key, seq
) as head
where not head.dead and head.due_at <= clock_timestamp()
order by head.seq limit 100;

-- name: next_due
-- Seconds until the next head is due, null where none waits.
select extract(epoch from min(head.due_at) - clock_timestamp())::float8
from (
  select distinct on (relation, key) due_at, dead
  from rowcall.parked where subscription = %(subscription)s
  order by relation, key, seq
) as head
where not head.dead;

-- name: delivered_late
delete from rowcall.parked where subscription = %(subscription)s and seq = %(seq)s;

-- name: count_delivered
update rowcall.cursor set delivered = delivered + %(delivered)s where subscription = %(subscription)s;

-- name: failed_again
update rowcall.parked
set attempts = %(attempts)s, dead = %(dead)s, error = %(error)s,
  due_at = clock_timestamp() + make_interval(secs => %(delay)s)
where subscription = %(subscription)s and seq = %(seq)s;

-- name: left_over
select count(*) filter (where not dead), count(*) filter (where dead)
from rowcall.parked where subscription = %(subscription)s;
