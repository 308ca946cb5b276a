-- Requests of the gate: one row a session of it, for its latest request, so that new ones take the place of old ones within a
-- page. Unlogged: a crash ends the writer too, and what is not written ahead costs a gated write no flush.
--   ticket  who asks which handlers; with its turn, the lock that the session waits for. See functions/gate_v1.sql.
create sequence rowcall.request_id as bigint;

create unlogged table rowcall.request (
  session integer primary key default pg_catalog.pg_backend_pid(),
  id bigint not null,
  ticket bigint not null,
  turn integer not null,
  relation integer not null,
  handlers jsonb not null,
  body jsonb,
  expires_at timestamptz not null,
  verdict jsonb
) with (fillfactor = 20);

grant usage on sequence rowcall.request_id to rowcall_gate;
grant select, insert, update, delete on rowcall.request to rowcall_gate;
