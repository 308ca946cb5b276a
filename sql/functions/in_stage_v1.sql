-- Whether an event of a cursor's stretch belongs to its stage, see tables/subscription_v1.sql: the rows of the subscription's own
-- backfill; what the cursor had delivered, to be delivered again; or what it had not when the log was restored. Of events up to
-- the floor, which were restored, the transaction ids say nothing: a replay has all of them.
-- Called by: the reader of the log, rowcall status, the rehearsal of a replay. Cost: inlined, so without a search_path of its own.
create function rowcall.in_stage_v1(stage rowcall.stage, subscription integer, lower pg_snapshot, upper pg_snapshot,
  last_seq bigint, floor bigint, seq bigint, xid xid8, operation rowcall.operation, context jsonb) returns boolean
language sql immutable parallel safe
return case when stage operator(pg_catalog.=) 'backfill'
  then operation operator(pg_catalog.=) 'snapshot'
    and (context operator(pg_catalog.->>) 'backfill') operator(pg_catalog.=) subscription::text
  else not rowcall.of_backfill_v1(operation, context)
    and (stage operator(pg_catalog.=) 'replay') operator(pg_catalog.=) (
      (stage operator(pg_catalog.=) 'replay' and seq operator(pg_catalog.<=) floor)
      or pg_catalog.pg_visible_in_snapshot(xid, lower)
      or (upper is not null and pg_catalog.pg_visible_in_snapshot(xid, upper) and seq operator(pg_catalog.<=) last_seq))
  end;
