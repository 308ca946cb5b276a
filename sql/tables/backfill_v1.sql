-- How far the backfill of a new subscription has come, a row a table: one snapshot event for each row that is there at the
-- moment the subscription begins, its cursor's "lower". Rows stay after the end, as a record.
--   layout  the newest layout of the table at the beginning
--   position  the key of the last row that was looked at
--   events, first_seq, last_seq  the snapshot events so far, and where they are in the log
--   done  all rows are in the log, also those that were changed meanwhile
create table rowcall.backfill (
  subscription integer not null references rowcall.subscription on delete cascade,
  relation integer not null references rowcall.relation,
  layout bigint not null,
  position jsonb,
  read boolean not null default false,
  done boolean not null default false,
  events bigint not null default 0,
  first_seq bigint,
  last_seq bigint,
  primary key (subscription, relation)
);
