-- The gate, from the listener's side.

-- name: turn
-- See gate_turn_v1.
call rowcall.gate_turn_v1($1::bigint[], $2::jsonb[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::jsonb, null)

-- name: guarded
-- The relations of tables, for which requests may come.
select n.id, n.schema_name, n.table_name from rowcall.relation as n
join unnest(%(schemas)s::text[], %(tables)s::text[]) as t (schema_name, table_name) using (schema_name, table_name);

-- name: sweep
-- A session has one row, for its latest request. What it asked is nobody's business any more once it is answered.
delete from rowcall.request where expires_at < clock_timestamp() - interval '5 seconds';
