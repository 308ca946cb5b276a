-- Questions put to the log.

-- name: relations
-- The relations a name means, dropped ones too: live before dropped, by the search_path first.
select id, schema_name, table_name from rowcall.relation
where table_name = %(table)s and (%(schema)s::text is null or schema_name = %(schema)s)
order by dropped_at is not null, oid = coalesce(to_regclass(%(quoted)s)::oid, 0) desc, dropped_at desc, id desc
limit 1;

-- name: log
-- Events, oldest first, filtered by everything that is not null; with a limit the newest ones.
select * from (
  select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context
  from rowcall.event
  where (%(relations)s::integer[] is null or relation = any (%(relations)s::integer[]))
    and (%(key)s::jsonb is null or key @> %(key)s::jsonb or next_key @> %(key)s::jsonb)
    and (%(actor)s::text is null
      or actor = %(actor)s::text and (octet_length(%(actor)s::text) > 1000 or octet_length(actor) <= 1000))
    and (%(operation)s::rowcall.operation is null or operation = %(operation)s::rowcall.operation)
    and (%(column)s::text is null or (operation = 'update' and old::jsonb ? %(column)s))
    and (%(since)s::timestamptz is null or at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or at < %(until)s::timestamptz)
    and (%(transaction)s::xid8 is null or xid = %(transaction)s::xid8)
    and (%(context)s::jsonb is null or context @> %(context)s::jsonb)
  order by seq desc limit %(limit)s
) as newest
order by seq;

-- name: relations_like
select array_agg(id) from rowcall.relation where schema_name like %(schema)s and table_name like %(table)s;

-- name: row
-- The events of one key up to a place in the log, and with them the key it had before, where one of them gave it this key.
select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context,
  case when next_key = %(key)s::jsonb then key end as earlier_key
from rowcall.event
where relation = %(relation)s and (key @> %(key)s::jsonb or next_key @> %(key)s::jsonb)
  and (key = %(key)s::jsonb or next_key = %(key)s::jsonb) and seq < %(before)s
order by seq;

-- name: key_types
-- The key columns of a relation with their types and encodings, by its newest layout.
select c ->> 'name', c ->> 'type', c ->> 'encoding'
from (select columns, key from rowcall.layout where relation = %(relation)s order by since desc limit 1) as l
cross join lateral unnest(l.key) with ordinality as k (name, position)
join lateral jsonb_array_elements(l.columns) as c on c ->> 'name' = k.name
order by k.position;

-- name: capture_settings
-- The settings under which capture writes values, for the rest of the transaction.
select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),
  set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
  set_config('extra_float_digits', '1', true), set_config('lc_monetary', 'C', true);

-- name: key_value
select to_jsonb({value}::{type})::text;

-- name: key_value_as_text
select to_jsonb(concat({value}::{type}))::text;

-- name: rejections
select * from (
  select j.id, j.at, r.schema_name || '.' || r.table_name as "table", j.operation::text, j.key, j.rule, j.handler, j.message,
    j.actor
  from rowcall.rejection as j join rowcall.relation as r on r.id = j.relation
  where (%(relations)s::integer[] is null or j.relation = any (%(relations)s::integer[]))
    and (%(actor)s::text is null or j.actor = %(actor)s)
    and (%(since)s::timestamptz is null or j.at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or j.at < %(until)s::timestamptz)
  order by j.id desc limit %(limit)s
) as newest
order by id;
