-- Archived events beside the log, see src/rowcall/audit/archives.py.

-- name: make_table
create temporary table rowcall_archived (like rowcall.event, file integer not null);

-- name: index
create index on pg_temp.rowcall_archived (seq);

-- name: dropped
select archive, first_seq, last_seq, sha256, dropped_at from rowcall.pruned where dropped_at is not null;

-- name: places
-- Between which places in the log the events of seals lie.
select min(first_seq), max(last_seq) from rowcall.seal
where number >= %(first)s and (%(last)s::bigint is null or number <= %(last)s);

-- name: unsealed
-- Archived events that no seal covers.
select a.seq, a.file
from pg_temp.rowcall_archived as a
left join (select unnest(seqs) as seq from rowcall.leaf where seal in (select number from rowcall.seal where number > 0)) as l on l.seq = a.seq
where l.seq is null
order by a.seq;

-- name: sealed_since
select min(sealed_at) from rowcall.seal;

-- name: row
-- The events of one key up to a place, in the log and beside it, and the key it had before, where one of them gave it this key.
select seq, case when next_key = %(key)s::jsonb then key::text end, key::text, next_key::text
from (
  select seq, relation, key, next_key from rowcall.event where key @> %(key)s::jsonb or next_key @> %(key)s::jsonb
  union all
  select seq, relation, key, next_key from pg_temp.rowcall_archived
) as e
where relation = %(relation)s and (key = %(key)s::jsonb or next_key = %(key)s::jsonb) and seq < %(before)s
order by seq;

-- name: onward
-- The events of a key from one of them on, in the log and beside it, and the key that one of them gave the row instead.
select seq, next_key::text
from (
  select seq, relation, key, next_key from rowcall.event where key @> %(key)s::jsonb
  union all
  select seq, relation, key, next_key from pg_temp.rowcall_archived
) as e
where relation = %(relation)s and key = %(key)s::jsonb and seq >= %(from)s
order by seq;

-- name: rewritten
-- What a file has now, after an erasure.
update rowcall.pruned set sha256 = %(sha256)s where dropped_at is not null and archive like '%%/' || %(name)s;

-- name: has_archives
select exists (select from rowcall.pruned where dropped_at is not null and archive is not null);
