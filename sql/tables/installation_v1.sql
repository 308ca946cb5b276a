-- One row: what this installation is called in idempotency keys.
-- The epoch is raised when cursors must be anchored anew: restored into a new cluster, the log holds transaction ids of
-- another one. See functions/reanchor_v1.sql.
--   floor_seq  the last seq that was restored: transaction ids of events up to it say nothing here
--   anchor  what was visible when the cursors were anchored: where windows go on from
--   mark, system  of the cluster the cursors are anchored in, see rowcall.cluster
create table rowcall.installation (
  singleton boolean primary key default true check (singleton),
  id uuid not null default gen_random_uuid(),
  epoch integer not null default 1,
  floor_seq bigint not null default 0,
  anchor pg_snapshot,
  mark uuid,
  system bigint,
  installed_at timestamptz not null default clock_timestamp()
);
insert into rowcall.installation default values;
