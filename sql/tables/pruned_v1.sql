-- What retention took out of the log, a row a partition: written before anything is taken, so that whoever is interrupted goes on.
-- The log begins at the newest "upper" of those that are dropped: before it, it has of each row that was there its last event only.
--   lower, upper  the partition's bounds; null is the beginning of time
--   archive  the file that holds its events, null if nobody wanted one
--   events, first_seq, last_seq  what was in the partition; sha256  of the file's text
--   last_xid  the last of its transactions: a snapshot that sees all up to it is not before the log's beginning
create table rowcall.pruned (
  id integer generated always as identity primary key,
  partition text not null,
  lower timestamptz,
  upper timestamptz not null,
  archive text,
  events bigint,
  first_seq bigint,
  last_seq bigint,
  sha256 text,
  last_xid xid8,
  planned_at timestamptz not null default clock_timestamp(),
  dropped_at timestamptz
);
create unique index pruned_planned on rowcall.pruned (partition) where dropped_at is null;
