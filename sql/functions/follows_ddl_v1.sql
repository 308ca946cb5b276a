-- Whether DDL is followed at once: the event trigger is there and fires, so generated code never meets a table that it was not
-- made for. Then it is lean; where nobody may make event triggers (or switched ours off before the table was watched) it
-- checks the number and the types of the columns on each row, which costs a single-row UPDATE of 12 columns another 15 µs or so.
-- Called by: the generators. capture_is_current_v1 notices when the answer changes: "rowcall sync" makes the other code.
create function rowcall.follows_ddl_v1() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_event_trigger where evtname = 'rowcall_follow_ddl' and evtenabled in ('O', 'A'))
$$;
