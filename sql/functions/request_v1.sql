-- Who and what a refused or judged write is: the part of a request that all have.
-- Runs inside gate and refusal functions. Called by: those.
create function rowcall.request_v1(relation_id integer, operation text, key jsonb, old jsonb, new jsonb) returns jsonb
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('relation', relation_id, 'operation', lower(operation), 'key', key, 'old', old, 'new', new,
    'xid', pg_current_xact_id_if_assigned()::text,
    'actor', nullif(current_setting('rowcall.actor', true), ''), 'context', rowcall.fallback_context_v1(),
    'db_user', session_user, 'db_role', nullif(current_setting('role'), 'none'),
    'application_name', nullif(current_setting('application_name'), ''))
$$;
