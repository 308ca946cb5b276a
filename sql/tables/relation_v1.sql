-- Our own name for a table. OIDs do not survive a restore and names change, so the log points here:
-- the history of a table stays under one relation through rename, drop and re-create.
create table rowcall.relation (
  id integer generated always as identity primary key,
  oid oid not null,
  schema_name text not null,
  table_name text not null,
  dropped_at timestamptz
);
create unique index relation_oid on rowcall.relation (oid) where dropped_at is null;
create unique index relation_name on rowcall.relation (schema_name, table_name) where dropped_at is null;
