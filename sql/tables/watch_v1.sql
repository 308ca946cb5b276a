-- Declarations: which relations are captured, which rules and before-handlers guard them, and who said so
-- (an app's name, or 'cli'): sync touches only what its own app declared.
create table rowcall.watch (
  relation integer primary key references rowcall.relation,
  declared_by text not null,
  options jsonb not null
);

-- rows: of old and new, those that the expression speaks of.
create table rowcall.rule (
  relation integer not null references rowcall.relation,
  name text not null,
  declared_by text not null,
  expression text not null,
  message text not null,
  operations text[] not null,
  rows text[] not null,
  on_violation text not null check (on_violation in ('refuse', 'warn')),
  primary key (relation, name)
);

create table rowcall.before_handler (
  relation integer not null references rowcall.relation,
  name text not null,
  declared_by text not null,
  position integer not null,
  operations text[] not null,
  columns text[] not null,
  condition text,
  timeout_ms integer not null check (timeout_ms > 0),
  on_unavailable text not null check (on_unavailable in ('accept', 'reject')),
  primary key (relation, name)
);

-- The key of redaction hashes. Whoever reads it can test guesses against redacted values.
create table rowcall.secret (
  singleton boolean primary key default true check (singleton),
  redaction bytea not null
);
insert into rowcall.secret (redaction)
values (pg_catalog.decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
grant select on rowcall.secret to rowcall_capture, rowcall_gate;
