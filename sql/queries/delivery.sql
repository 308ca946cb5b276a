-- Subscriptions, their cursors and what they set aside.

-- name: create_subscription
-- A new subscription starts at the moment the caller took, before this transaction had an id of its own, or else at this one;
-- or at the beginning of the log, which in a restored database comes before the transactions of this cluster. One that starts
-- with a backfill is not read before that is complete, see queries/backfill.sql: of every watched table that it wants.
with created as (
  insert into rowcall.subscription (name, declared_by, ready) values (%(name)s, %(declared_by)s, %(start)s <> 'backfill')
  on conflict (name) do nothing returning id
), placed as (
  insert into rowcall.cursor (subscription, lanes, lower, stage, stage_until)
  select c.id, '{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}',
    case %(start)s when 'beginning' then '1:1:' else coalesce(%(lower)s::pg_snapshot, pg_current_snapshot()) end,
    case when %(start)s = 'beginning' and i.floor_seq > 0 then 'restored'::rowcall.stage end,
    case when %(start)s = 'beginning' then i.floor_seq else 0 end
  from created as c cross join rowcall.installation as i
)
insert into rowcall.backfill (subscription, relation, layout)
select c.id, w.relation, (select max(since) from rowcall.layout where relation = w.relation)
from created as c
cross join rowcall.watch as w
join rowcall.relation as r on r.id = w.relation and r.dropped_at is null
where %(start)s = 'backfill' and r.schema_name like %(schema)s and r.table_name like %(table)s;

-- name: subscriptions
select name, declared_by from rowcall.subscription where name = any (%(names)s);

-- name: snapshot
select pg_current_snapshot()::text;

-- name: advance
-- Nothing, if the lanes changed hands meanwhile.
update rowcall.cursor
set lower = %(lower)s, upper = %(upper)s, last_seq = %(last_seq)s, number = %(number)s, stage = %(stage)s::rowcall.stage,
  stage_seq = %(stage_seq)s, stage_until = %(stage_until)s, restored_seq = %(restored_seq)s,
  restored_until = %(restored_until)s, delivered = delivered + %(delivered)s
where id = %(cursor)s and epoch = %(epoch)s;

-- name: clear_suspects
delete from rowcall.suspect where subscription = %(subscription)s and seq = any (%(seqs)s);

-- name: park
insert into rowcall.parked (subscription, seq, relation, key, next_key, attempts, due_at, error, dead)
values (%(subscription)s, %(seq)s, %(relation)s, %(key)s, %(next_key)s, %(attempts)s,
  clock_timestamp() + make_interval(secs => %(delay)s), %(error)s, %(dead)s)
on conflict (subscription, seq) do update set error = coalesce(excluded.error, parked.error);

-- name: violation
-- What an after-handler rejected. Its images are in the log.
insert into rowcall.rejection (outcome, seq, xid, relation, operation, key, handler, message, column_name, actor, context,
  db_user, db_role, application_name)
select 'committed', e.seq, e.xid, e.relation, e.operation, e.key, %(handler)s, left(%(message)s, 2000), left(%(column)s, 200),
  e.actor, e.context, e.db_user, e.db_role, e.application_name
from rowcall.event as e
where e.seq = %(seq)s and e.at = %(at)s;

-- name: parked_keys
select relation, key from rowcall.parked where subscription = %(subscription)s
union
select relation, next_key from rowcall.parked where subscription = %(subscription)s and next_key is not null;

-- name: next_retry
-- When something may be tried again in these lanes, in seconds: of each key the first that is parked, unless
-- a person has to act on it. What waits behind it is not due before it.
with keys as (
  select p.seq, p.relation, k.key
  from rowcall.parked as p
  cross join lateral (select p.key union select p.next_key where p.next_key is not null) as k (key)
  where p.subscription = %(subscription)s
), placed as (
  select seq, key is null as of_every_key,
    seq = min(seq) over (partition by relation) as first_of_table,
    seq = min(seq) over (partition by relation, key) as first_of_key,
    min(seq) filter (where key is null) over (partition by relation) as first_truncate
  from keys
), heads as (
  select seq from placed group by seq
  having bool_and(first_of_table or (not of_every_key and first_of_key and (first_truncate is null or seq < first_truncate)))
)
select extract(epoch from min(p.due_at) - clock_timestamp())::float8
from rowcall.parked as p join heads using (seq)
where p.subscription = %(subscription)s and not p.dead and rowcall.lane_v1(p.relation, p.key) = any (%(lanes)s::integer[]);

-- name: parked
-- What is set aside, in the order of the log.
select seq, relation, key, next_key, attempts, extract(epoch from due_at - clock_timestamp())::float8, dead,
  rowcall.lane_v1(relation, key)
from rowcall.parked where subscription = %(subscription)s and seq > %(after)s order by seq limit 1000;

-- name: delivered_late
delete from rowcall.parked where subscription = %(subscription)s and seq = any (%(seqs)s);

-- name: count_delivered
update rowcall.cursor set delivered = delivered + %(delivered)s where id = %(cursor)s and epoch = %(epoch)s;

-- name: failed_again
update rowcall.parked
set attempts = %(attempts)s, dead = %(dead)s, error = %(error)s,
  due_at = clock_timestamp() + make_interval(secs => %(delay)s)
where subscription = %(subscription)s and seq = %(seq)s;

-- name: left_over
select count(*) filter (where not dead), count(*) filter (where dead)
from rowcall.parked where subscription = %(subscription)s;
