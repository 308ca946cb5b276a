-- One row: what this installation is called in idempotency keys.
-- The epoch is raised when cursors must be anchored anew (restore into a new cluster).
create table rowcall.installation (
  singleton boolean primary key default true check (singleton),
  id uuid not null default gen_random_uuid(),
  epoch integer not null default 1,
  installed_at timestamptz not null default clock_timestamp()
);
insert into rowcall.installation default values;
