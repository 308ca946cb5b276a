-- How far the baseline of a watched table has come: a snapshot event for each row that was there when it began and of which no later
-- event speaks. Rows stay after the end, as a record.
--   since  a place in the log: the watch was in place by then
--   layout  the newest layout of the table at the beginning
--   position  the key of the last row that was looked at; then all rows are read
--   left_out  keys of rows that a writer held
--   ended_seq, ended_xid, ended_at  where, in which transaction and when it was done: from then on the log has every row
create table rowcall.baseline (
  relation integer primary key references rowcall.relation,
  since bigint not null,
  layout bigint not null,
  position jsonb,
  read boolean not null default false,
  left_out jsonb[] not null default '{}',
  done boolean not null default false,
  events bigint not null default 0,
  begun_at timestamptz not null default clock_timestamp(),
  ended_seq bigint,
  ended_xid xid8,
  ended_at timestamptz
);
