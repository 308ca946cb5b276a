-- Requests of the gate, alive for as long as one writer waits. Unlogged: a crash ends the writer too, and
-- what is not written ahead costs a gated write no flush.
create unlogged table rowcall.request (
  id bigint generated always as identity primary key,
  pid integer not null default pg_catalog.pg_backend_pid(),
  body jsonb not null,
  expires_at timestamptz not null,
  claimed_by integer,
  verdict jsonb
);

-- Writes that validation refused, recorded by a transaction of the gate's own because the writer's rolls back.
create table rowcall.rejection (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  xid xid8,
  relation integer not null,
  operation rowcall.operation not null,
  key jsonb,
  old jsonb,
  new jsonb,
  rule text,
  handler text,
  message text not null,
  column_name text,
  actor text,
  context jsonb,
  db_user text,
  db_role text,
  application_name text
);

grant select, insert, update, delete on rowcall.request to rowcall_gate;
grant insert on rowcall.rejection to rowcall_gate;
