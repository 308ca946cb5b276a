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

grant select, insert, update, delete on rowcall.request to rowcall_gate;
