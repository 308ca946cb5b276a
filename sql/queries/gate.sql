-- The gate, from the listener's side.

-- name: claim
-- Takes what nobody answers yet: new requests, and those whose claimer's connection is gone.
update rowcall.request as r set claimed_by = pg_backend_pid()
from (
  select id from rowcall.request
  where verdict is null and expires_at > clock_timestamp()
    and (claimed_by is null or not exists (select from pg_stat_activity where pid = claimed_by))
    and body -> 'handlers' <@ %(handlers)s
  order by id for update skip locked
) as free
where r.id = free.id
returning r.id, r.body, extract(epoch from r.expires_at - clock_timestamp())::float8;

-- name: answer
update rowcall.request set verdict = %(verdict)s where id = %(id)s and claimed_by = pg_backend_pid() and verdict is null;
