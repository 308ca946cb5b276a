-- The gate's login and connection, from the administrator's side.

-- name: dblink_is_available
select from pg_extension where extname = 'dblink' union all select from pg_available_extensions where name = 'dblink';

-- name: rights
-- What makes a login worth something to whoever gets hold of its connection; no row where there is no such login.
select case when r.rolsuper then '{is a superuser}'::text[] else array_remove(array[
    case when r.rolname = current_user then 'is the login that migrates' end,
    case when r.rolcreaterole then 'may create roles' end,
    case when r.rolbypassrls then 'bypasses row security' end,
    case when r.rolreplication then 'may replicate' end,
    case when exists (select from pg_auth_members where member = r.oid) then 'is a member of other roles' end,
    case when exists (select from pg_class where relowner = r.oid) then 'owns tables' end
  ], null) end
from pg_roles as r where r.rolname = %(login)s;

-- name: configure
select rowcall.configure_gate_v1(%s, %s, %s);

-- name: try
select rowcall.try_gate_v1();
