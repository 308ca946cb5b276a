-- The gate, from the listener's side.

-- name: claim
-- Takes what nobody answers yet: new requests, and those whose claimer's connection is gone.
-- mine: [{"schema", "table", "handlers"}], the handlers this process has for each table.
update rowcall.request as r set claimed_by = pg_backend_pid()
from (
  select q.id, n.schema_name, n.table_name
  from rowcall.request as q
  join rowcall.relation as n on n.id = (q.body ->> 'relation')::integer
  join jsonb_array_elements(%(mine)s::jsonb) as m on m ->> 'schema' = n.schema_name and m ->> 'table' = n.table_name
  where q.verdict is null and q.expires_at > clock_timestamp()
    and (q.claimed_by is null or not exists (select from pg_stat_activity where pid = q.claimed_by))
    and q.body -> 'handlers' <@ (m -> 'handlers')
  order by q.id for update of q skip locked
) as free
where r.id = free.id
returning r.id, r.body, free.schema_name, free.table_name, extract(epoch from r.expires_at - clock_timestamp())::float8,
  (select mark from rowcall.layout_mark);

-- name: answer
update rowcall.request set verdict = %(verdict)s where id = %(id)s and claimed_by = pg_backend_pid() and verdict is null;

-- name: sweep
-- A writer removes its own request. Left over are those whose session ended while it waited.
delete from rowcall.request where expires_at < clock_timestamp() - interval '5 seconds';
