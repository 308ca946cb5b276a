-- One NOTIFY a statement for watches with notify: table, operation and the seqs the statement's rows drew, which the
-- capture function left in a setting of the transaction. Never row data: a payload over 8,000 bytes would fail the write.
-- Arguments: channel, "schema.table", relation id. Called by: statement triggers. Cost: a NOTIFY, see ring_v1.
create function rowcall.announce_v1() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting constant text := 'rowcall.range_' || tg_argv[2];
  v_range constant text := current_setting(v_setting, true);
begin
  if coalesce(v_range, '') <> '' then
    perform set_config(v_setting, '', true);
    perform pg_notify(tg_argv[0], json_build_object('table', tg_argv[1], 'operation', lower(tg_op),
      'seq', ('[' || replace(v_range, ' ', ',') || ']')::json)::text);
  end if;
  return null;
end $$;
