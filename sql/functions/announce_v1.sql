-- One NOTIFY a statement for watches with notify: table, operation and the seqs the statement's rows drew, which the
-- capture function left in a setting of the transaction: the first and the last. Never row data: a payload over 8,000 bytes
-- would fail the write.
-- Anybody may set the setting by hand. Capture keeps what is before the first blank and adds the seq of its own row, so the
-- last is certain whenever a row was captured; what cannot be a first seq gives way to it.
-- Arguments: channel, "schema.table", relation id. Called by: statement triggers. Cost: a NOTIFY, see bell_v1.
create function rowcall.announce_v1() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting constant text := 'rowcall.range_' || tg_argv[2];
  v_range constant text := current_setting(v_setting, true);
  v_first numeric;
  v_last numeric;
begin
  if coalesce(v_range, '') <> '' then
    perform set_config(v_setting, '', true);
    v_last := substring(v_range from ' ([0-9]{1,19})$');
    v_first := coalesce(substring(v_range from '^([0-9]{1,19}) [0-9]{1,19}$')::numeric, v_last);
    if v_last <= 9223372036854775807 then
      perform pg_notify(tg_argv[0], json_build_object('table', tg_argv[1], 'operation', lower(tg_op),
        'seq', format('[%s,%s]', least(v_first, v_last), v_last)::json)::text);
    end if;
  end if;
  return null;
end $$;
