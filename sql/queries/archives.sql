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
left join (select unnest(seqs) as seq from rowcall.leaf) as l on l.seq = a.seq
where l.seq is null
order by a.seq;

-- name: sealed_since
select min(sealed_at) from rowcall.seal;
