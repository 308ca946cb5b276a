-- What the images of a relation mean from a place in the log on: names, types and encodings of its captured
-- columns, and the key. DDL holds its table exclusively, so a seq drawn inside the DDL's transaction divides
-- the events of the old layout from those of the new one.
-- columns: [{"name": …, "type": …, "encoding": …, "redacted": …}], in table order.
create table rowcall.layout (
  relation integer not null references rowcall.relation,
  since bigint not null,
  columns jsonb not null,
  key text[] not null,
  primary key (relation, since)
);
