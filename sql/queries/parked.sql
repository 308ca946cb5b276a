-- What subscriptions set aside, and what a person decides about it.

-- name: places
-- Every parked event, in order, so that it can be told who waits behind whom; whether it is of a key that is asked for.
select p.subscription, p.seq, p.relation, p.key, p.next_key,
  coalesce(p.relation = %(relation)s::integer and %(key)s::jsonb in (p.key, p.next_key), false)
from rowcall.parked as p
where %(subscription)s::integer is null or p.subscription = %(subscription)s::integer
order by p.subscription, p.seq;

-- name: parked
-- Parked events at length. OFFSET 0 has the log looked into for these alone, by its index, however many they are.
select s.name, p.seq, r.schema_name || '.' || r.table_name, e.operation, p.key, p.attempts,
  case when not p.dead then p.due_at end, p.dead, p.error, p.since, w.behind
from unnest(%(subscriptions)s::integer[], %(seqs)s::bigint[], %(behind)s::integer[]) as w (subscription, seq, behind)
join rowcall.parked as p using (subscription, seq)
join rowcall.subscription as s on s.id = p.subscription
join rowcall.relation as r on r.id = p.relation
left join lateral (select operation::text from rowcall.event where seq = p.seq offset 0) as e on true
order by s.name, p.seq;

-- name: skipped
select s.name, p.seq, r.schema_name || '.' || r.table_name, e.operation, p.key, p.attempts, p.error, p.since, p.skipped_by,
  p.skipped_at
from rowcall.skipped as p
join rowcall.subscription as s on s.id = p.subscription
join rowcall.relation as r on r.id = p.relation
left join lateral (select operation::text from rowcall.event where seq = p.seq offset 0) as e on true
where %(subscription)s::integer is null or p.subscription = %(subscription)s::integer
order by s.name, p.seq;

-- name: retry
update rowcall.parked
set due_at = clock_timestamp(), attempts = case when dead then 0 else attempts end, dead = false
where subscription = %(subscription)s and seq = any (%(seqs)s);

-- name: skip
with given_up as (
  delete from rowcall.parked where subscription = %(subscription)s and seq = any (%(seqs)s)
  returning subscription, seq, relation, key, next_key, attempts, error, since
)
insert into rowcall.skipped (subscription, seq, relation, key, next_key, attempts, error, since)
select * from given_up
-- Given up before, and then replayed.
on conflict (subscription, seq) do update set attempts = excluded.attempts, error = excluded.error, since = excluded.since,
  skipped_by = excluded.skipped_by, skipped_at = excluded.skipped_at
returning seq;
