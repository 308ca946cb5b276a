-- Questions put to the log.

-- name: relations
-- The relations a name means, dropped ones too: live before dropped, by the search_path first.
select id, schema_name, table_name from rowcall.relation
where table_name = %(table)s and (%(schema)s::text is null or schema_name = %(schema)s)
order by dropped_at is not null, oid = coalesce(to_regclass(%(quoted)s)::oid, 0) desc, dropped_at desc, id desc
limit 1;

-- name: log
-- Events, oldest first, filtered by everything that is not null; with a limit the newest ones. A condition whose parameter is null is
-- gone before the query is planned. A value is compared as text, before the event and after it.
select * from (
  select seq, xid::text::bigint, at, relation, operation::text, key, next_key, old, new, actor, context
  from rowcall.event
  where (%(relations)s::integer[] is null or relation = any (%(relations)s::integer[]))
    and (%(key_part)s::jsonb is null or key @> %(key_part)s::jsonb or next_key @> %(key_part)s::jsonb)
    and (not %(key_whole)s or key = %(key_part)s::jsonb or next_key = %(key_part)s::jsonb)
    and (%(actor)s::text is null
      or actor = %(actor)s::text and (octet_length(%(actor)s::text) > 1000 or octet_length(actor) <= 1000))
    and (%(role)s::text is null or db_user = %(role)s or db_role = %(role)s)
    and (%(operation)s::rowcall.operation is null or operation = %(operation)s::rowcall.operation)
    and (%(column)s::text is null or (operation = 'update' and old::jsonb ? %(column)s))
    and (%(values)s::jsonb is null or not exists (
      select from jsonb_each_text(%(values)s::jsonb) as wanted
      where not coalesce(json_typeof(new -> wanted.key) is not null and new ->> wanted.key is not distinct from wanted.value, false)
        and not coalesce(json_typeof(old -> wanted.key) is not null and old ->> wanted.key is not distinct from wanted.value, false)))
    and (%(since)s::timestamptz is null or at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or at < %(until)s::timestamptz)
    and (%(transaction)s::xid8 is null or xid = %(transaction)s::xid8)
    and (%(context)s::jsonb is null or context @> %(context)s::jsonb)
    and (%(context_keys)s::text[] is null or context ?& %(context_keys)s::text[])
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
-- The columns of the keys that a relation has had, with their types and encodings, by its layouts, the newest first; nulls for none.
select l.since, k.name, c ->> 'type', c ->> 'encoding'
from rowcall.layout as l
left join lateral unnest(l.key) with ordinality as k (name, position) on true
left join lateral jsonb_array_elements(l.columns) as c on c ->> 'name' = k.name
where l.relation = %(relation)s
order by l.since desc, k.position;

-- name: columns
-- The columns that relations have had, or all.
select coalesce(array_agg(distinct c ->> 'name' order by c ->> 'name'), '{}')
from rowcall.layout cross join lateral jsonb_array_elements(columns) as c
where %(relations)s::integer[] is null or relation = any (%(relations)s::integer[]);

-- name: backward
select %(since)s::timestamptz > %(until)s::timestamptz;

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
-- What validation did not like, oldest first, and in its place how many more there were of a kind in one minute, as of the last
-- of them; those are known by table, outcome, rule or handler, and session user only.
select at, "table", operation, key, rule, handler, message, actor, outcome, "column", old, new, context, db_user, db_role, xid,
  seq, suppressed
from (
  select * from (
    select j.id, j.at, r.schema_name || '.' || r.table_name as "table", j.operation::text, j.key, j.rule, j.handler, j.message,
      j.actor, j.outcome, j.column_name as "column", j.old, j.new, j.context, j.db_user, j.db_role, j.xid::text::bigint as xid,
      j.seq, null::bigint as suppressed
    from rowcall.rejection as j join rowcall.relation as r on r.id = j.relation
    where (%(relations)s::integer[] is null or j.relation = any (%(relations)s::integer[]))
      and (%(outcome)s::text is null or j.outcome = %(outcome)s)
      and (%(rule)s::text is null or j.rule = %(rule)s)
      and (%(handler)s::text is null or j.handler = %(handler)s)
      and (%(role)s::text is null or %(role)s::text in (j.db_user, j.db_role))
      and (%(key)s::jsonb is null or j.key @> %(key)s::jsonb)
      and (%(actor)s::text is null or j.actor = %(actor)s)
      and (%(operation)s::rowcall.operation is null or j.operation = %(operation)s::rowcall.operation)
      and (%(column)s::text is null or j.column_name = %(column)s)
      and (%(transaction)s::xid8 is null or j.xid = %(transaction)s::xid8)
      and (%(context)s::jsonb is null or j.context @> %(context)s::jsonb)
    union all
    select null, max(t.last_at), r.schema_name || '.' || r.table_name, null, null, t.rule, t.handler,
      'that many more within a minute', null, t.outcome, null, null, null, null, t.db_user, null, null, null, sum(t.suppressed)
    from rowcall.rejection_tally as t join rowcall.relation as r on r.id = t.relation
    where (%(relations)s::integer[] is null or t.relation = any (%(relations)s::integer[]))
      and (%(outcome)s::text is null or t.outcome = %(outcome)s)
      and (%(rule)s::text is null or t.rule = %(rule)s)
      and (%(handler)s::text is null or t.handler = %(handler)s)
      and (%(role)s::text is null or t.db_user = %(role)s::text)
      and num_nonnulls(%(key)s::jsonb, %(actor)s::text, %(operation)s::text, %(column)s::text, %(transaction)s::text,
        %(context)s::jsonb) = 0
    group by t.minute, r.id, t.rule, t.handler, t.outcome, t.db_user
  ) as found
  where (%(since)s::timestamptz is null or at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or at < %(until)s::timestamptz)
  order by at desc, id desc limit %(limit)s
) as newest
order by at, id;

-- name: transaction
-- What one transaction did; nulls where the log has nothing of it.
select count(*), min(seq), max(seq), min(at), max(at),
  array_agg(distinct actor) filter (where actor is not null), array_agg(distinct db_user), array_agg(distinct db_role) filter (where db_role is not null),
  array_agg(distinct application_name) filter (where application_name is not null),
  coalesce(jsonb_agg(distinct context) filter (where context is not null), '[]')
from rowcall.event where xid = %(transaction)s::xid8;

-- name: transaction_tables
-- Its tables and operations, in the order in which it came to them.
select r.schema_name || '.' || r.table_name, e.operation::text, count(*)
from rowcall.event as e join rowcall.relation as r on r.id = e.relation
where e.xid = %(transaction)s::xid8
group by r.id, e.operation
order by min(e.seq);
