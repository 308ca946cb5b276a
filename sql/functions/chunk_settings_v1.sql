-- Settings for the rest of a transaction that reads a chunk of a table and logs it: those by which images are made and read,
-- whatever the session's, all rows or none, and no plan but by the key.
-- Called by: backfill_chunk_v1, baseline_chunk_v1, each in a transaction of its own.
create function rowcall.chunk_settings_v1() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  set local row_security = off;
  set local timezone = 'UTC';
  set local datestyle = 'ISO, MDY';
  set local intervalstyle = 'postgres';
  set local bytea_output = 'hex';
  set local extra_float_digits = '1';
  set local lc_monetary = 'C';
  set local quote_all_identifiers = off;
  set local array_nulls = on;
  set local xmloption = content;
  set local jit = off;
  set local enable_seqscan = off;
end $$;
