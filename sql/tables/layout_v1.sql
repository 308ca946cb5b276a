-- What the images of a relation mean from a place in the log on: names, types and encodings of its captured
-- columns, and the key. DDL holds its table exclusively, so a seq drawn inside the DDL's transaction divides
-- the events of the old layout from those of the new one.
-- columns: [{"name": …, "type": …, "encoding": …, "redacted": …}], in table order; of erasable ones also "erasable": true.
create table rowcall.layout (
  relation integer not null references rowcall.relation,
  since bigint not null,
  columns jsonb not null,
  key text[] not null,
  primary key (relation, since)
);

-- Another value whenever a layout was added or a relation renamed. The newest "since" would not do: of two transactions
-- the one that drew the smaller number may commit last.
create view rowcall.layout_mark as
select l.layouts || ' ' || l.places || ' ' || r.names as mark
from (select count(*) as layouts, coalesce(sum(since), 0) as places from rowcall.layout) as l,
  (select coalesce(sum(hashtext(schema_name || '.' || table_name)::bigint), 0) as names from rowcall.relation) as r;
