-- What only the gate's own functions can put under a message: a keyed hash. The gate's login, and a writer who gets hold of its
-- connection or puts another in its place, can carry signed messages but make none.
-- The key goes in twice, because a hash over key and message could be continued by whoever sees it.
-- Called by: ask_v1, gate_v1. Cost: some 5 µs.
create function rowcall.signature_v1(message text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select encode(sha256(redaction || sha256(redaction || convert_to('gate ' || message, 'UTF8'))), 'hex') from rowcall.secret
$$;
