-- Whether an event is a row of some subscription's backfill, which is nobody else's business.
-- Called by: whoever reads the log for a subscription. Cost: inlined, so without a search_path of its own, a look into the context
-- of snapshot events.
create function rowcall.of_backfill_v1(operation rowcall.operation, context jsonb) returns boolean
language sql immutable parallel safe
return operation operator(pg_catalog.=) 'snapshot' and context is not null and context operator(pg_catalog.?) 'backfill';
