-- Rows as they were at a moment: after the events before a time, or after those of the transactions that a snapshot sees.
-- Transaction ids up to the floor are those of another cluster, from which the log was restored: every snapshot of this one sees
-- them. The snapshot events of a backfill say what a subscription began with, in no order with other events; those of a baseline say
-- how a row was at that place of the log.
-- Keys are compared as jsonb does: one whose number only got another scale is the same, and has not been left.

-- name: moment
-- A moment as all queries take it: a time as text in one form, since the infinities are no datetimes; a snapshot; and the floor.
select to_jsonb(%(at)s::timestamptz) #>> '{}', %(snapshot)s::pg_snapshot::text, floor_seq from rowcall.installation;

-- name: in_order
-- Whether a moment is not before another one.
select coalesce(%(since)s::timestamptz <= %(at)s::timestamptz,
  pg_snapshot_xmin(%(before)s::pg_snapshot) <= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
  and pg_snapshot_xmax(%(before)s::pg_snapshot) <= pg_snapshot_xmax(%(snapshot)s::pg_snapshot));

-- name: dropped
-- When a table was dropped, if that is before the moment; no row otherwise. A snapshot does not say when it was taken.
select dropped_at from rowcall.relation where id = %(relation)s and dropped_at < %(at)s::timestamptz;

-- name: rekeyed
-- Where the key of a table last became another one, after it was emptied, and before an event of that time; null if it did not.
select max(since)
from (select since, key, lag(key) over (order by since) as former from rowcall.layout where relation = %(relation)s) as l
where former <> key and since > %(emptied)s and exists (
  select from rowcall.event
  where relation = %(relation)s and seq > l.since
    and (%(at)s::timestamptz is null or at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq <= %(floor)s or pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)));

-- name: emptied
-- The last event at which the whole table was emptied; and the last one after it at which a part of it was, of which the log does
-- not know the rows; and whether the key of the table is checked at the end of transactions.
select coalesce(max(seq) filter (where old is null), 0), max(seq) filter (where old is not null), exists (
    select from rowcall.relation as r join pg_index as i on i.indrelid = r.oid
    where r.id = %(relation)s and r.dropped_at is null and i.indisprimary and not i.indimmediate)
from rowcall.event
where relation = %(relation)s and operation = 'truncate'
  and (%(at)s::timestamptz is null or at < %(at)s::timestamptz)
  and (%(snapshot)s::pg_snapshot is null or seq <= %(floor)s or pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot));

-- name: last_events
-- Of each key, or one, the last event that left a row there, unless the row went later. Where a key's uniqueness can be deferred, two rows
-- may share it within a transaction: there, as many have to have gone as came, and what went later has to be the row that came.
with visible as not materialized (
  select seq, operation, key, nullif(next_key, key) as next_key from rowcall.event
  where relation = %(relation)s and seq > %(emptied)s and key is not null
    and (%(key)s::jsonb is null or key @> %(key)s::jsonb or next_key @> %(key)s::jsonb)
    and (%(at)s::timestamptz is null or at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq <= %(floor)s or pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot))
    and (operation <> 'snapshot' or context is null or not context ? 'backfill')
), here as (
  select key, max(seq) filter (where operation <> 'delete' and next_key is null) as seq,
    max(seq) filter (where operation = 'delete' or next_key is not null) as gone,
    sum(case when not %(deferrable)s then 0 when operation = 'insert' then 1 when operation = 'delete' or next_key is not null then -1 end)
      as balance
  from visible group by key
), came as (
  select next_key as key, max(seq) as seq, count(*) as balance from visible where next_key is not null group by next_key
), last as (
  -- Not a union of both before the grouping, which would not run in parallel.
  select coalesce(here.key, came.key) as key, greatest(here.seq, came.seq) as seq, here.gone,
    coalesce(here.balance, 0) + coalesce(came.balance, 0) as balance
  from here full join came on came.key = here.key
)
select coalesce(array_agg(seq order by seq), '{}')
from last
where (%(key)s::jsonb is null or key = %(key)s::jsonb) and seq is not null
  and (gone is null or gone < seq or (%(deferrable)s and (balance > 0 or exists (
    select from rowcall.event as came cross join rowcall.event as went
    where came.seq = last.seq and went.seq = last.gone
      and rowcall.old_image_v1(went.old, went.new) is distinct from came.new::jsonb))));

-- name: states_after
-- The rows that events left.
select seq, coalesce(next_key, key), new from rowcall.event
where seq = any (%(seqs)s::bigint[]) and (%(at)s::timestamptz is null or at < %(at)s::timestamptz);

-- name: settings
-- For the length of a transaction: room for a hash table of all keys, and no second of compiling for a look at a few rows.
select set_config('work_mem', '128MB', true), set_config('jit', 'off', true);

-- name: bag_states
-- Of a table without a key each row that is there, as often as it is there: as often as it came less as often as it went.
with visible as not materialized (
  select seq, operation, key, new from rowcall.event
  where relation = %(relation)s and seq > %(emptied)s and key is not null
    and (%(at)s::timestamptz is null or at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq <= %(floor)s or pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot))
    and (operation <> 'snapshot' or context is null or not context ? 'backfill')
), balance as (
  select image, sum(came) as times, max(seq) as seq
  from (
    select key as image, seq, case when operation in ('insert', 'snapshot') then 1 else -1 end as came from visible
    union all
    select new::jsonb, seq, 1 from visible where operation = 'update'
  ) as facts
  group by image
)
select seq, image, image::json from balance cross join lateral generate_series(1, times)
where %(key)s::jsonb is null or image = %(key)s::jsonb;

-- name: first_event
-- What the log knows first of a key: the event's place, and whether the row was there before it.
select seq, operation not in ('insert', 'snapshot') and key = %(key)s::jsonb
from rowcall.event
where relation = %(relation)s and (key @> %(key)s::jsonb or next_key @> %(key)s::jsonb)
  and (key = %(key)s::jsonb or next_key = %(key)s::jsonb)
  and (operation <> 'snapshot' or context is null or not context ? 'backfill')
order by seq limit 1;

-- name: saw
-- Whether a key has an event before that moment.
select exists (
  select from rowcall.event
  where relation = %(relation)s and (key @> %(key)s::jsonb or next_key @> %(key)s::jsonb)
    and (key = %(key)s::jsonb or next_key = %(key)s::jsonb)
    and (%(at)s::timestamptz is null or at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq <= %(floor)s or pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)));

-- name: has_baseline
-- Whether a baseline was complete by that moment.
select exists (
  select from rowcall.baseline
  where relation = %(relation)s and done
    and (%(at)s::timestamptz is null or ended_at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or ended_seq <= %(floor)s or pg_visible_in_snapshot(ended_xid, %(snapshot)s::pg_snapshot)));

-- name: pruned
-- Where the log begins if retention has dropped events since that moment, or that it may not have seen; no row otherwise. A snapshot that
-- does not see all transactions up to the last of them may lack one.
select b.moment
from (select max(upper) as moment from rowcall.pruned where dropped_at is not null) as b
where exists (
  select from rowcall.pruned
  where dropped_at is not null and (
    upper > %(at)s::timestamptz
    or last_seq > %(floor)s and last_xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)));

-- name: beginning
-- The first event of the log, and whether that moment is before it.
select seq, at, coalesce(%(at)s::timestamptz <= at, false) from rowcall.event order by seq limit 1;

-- name: window
-- The events between two moments, key by key, these numbered; one that changes a key twice, for either.
with visible as not materialized (
  select * from rowcall.event
  where relation = %(relation)s and key is not null
    and (%(at)s::timestamptz is null or at >= %(since)s::timestamptz and at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq > %(floor)s
      and not pg_visible_in_snapshot(xid, %(before)s::pg_snapshot) and pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot))
    and (operation <> 'snapshot' or context is null or not context ? 'backfill')
)
select dense_rank() over (order by place) as number, place, seq, operation::text, key = place,
  operation <> 'delete' and coalesce(next_key, key) = place, old, new
from (
  select key as place, * from visible
  union all
  select next_key, * from visible where next_key <> key
) as facts
order by place, seq;

-- name: truncated_between
select exists (
  select from rowcall.event
  where relation = %(relation)s and operation = 'truncate'
    and (%(at)s::timestamptz is null or at >= %(since)s::timestamptz and at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq > %(floor)s
      and not pg_visible_in_snapshot(xid, %(before)s::pg_snapshot) and pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)));

-- name: bag_window
-- Of a table without a key, how often each row came and went between two moments, where that is not the same.
with visible as not materialized (
  select * from rowcall.event
  where relation = %(relation)s and key is not null
    and (%(at)s::timestamptz is null or at >= %(since)s::timestamptz and at < %(at)s::timestamptz)
    and (%(snapshot)s::pg_snapshot is null or seq > %(floor)s
      and not pg_visible_in_snapshot(xid, %(before)s::pg_snapshot) and pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot))
    and operation <> 'snapshot'
)
select max(seq), image::json, sum(came)
from (
  select key as image, seq, case operation when 'insert' then 1 else -1 end as came from visible
  union all
  select new::jsonb, seq, 1 from visible where operation = 'update'
) as facts
group by image
having sum(came) <> 0;
