-- Records a refused write. The gate's functions call it, for handlers and rules alike.
create function rowcall.record_rejection_v1(rejection jsonb) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcall.rejection (xid, relation, operation, key, old, new, rule, handler, message, column_name,
    actor, context, db_user, db_role, application_name)
  select (rejection ->> 'xid')::xid8, (rejection ->> 'relation')::integer, (rejection ->> 'operation')::rowcall.operation,
    nullif(rejection -> 'key', 'null'), nullif(rejection -> 'old', 'null'), nullif(rejection -> 'new', 'null'),
    rejection ->> 'rule', rejection ->> 'handler', rejection ->> 'message', rejection ->> 'column',
    rejection ->> 'actor', nullif(rejection -> 'context', 'null'),
    rejection ->> 'db_user', rejection ->> 'db_role', rejection ->> 'application_name'
$$;
