-- Retention of what validation refused. Nothing but an answer to "what was refused" needs it, so it goes by itself, to the moment.

-- name: count
select (select count(*) from rowcall.rejection where at < now() - %(keep)s::interval)
  + coalesce((select sum(suppressed) from rowcall.rejection_tally where last_at < now() - %(keep)s::interval), 0)::bigint;

-- name: drop
with dropped as (
  delete from rowcall.rejection where at < now() - %(keep)s::interval returning 1 as n
), tallied as (
  delete from rowcall.rejection_tally where last_at < now() - %(keep)s::interval returning suppressed as n
)
select coalesce(sum(n), 0)::bigint from (select n from dropped union all select n from tallied) as d;
