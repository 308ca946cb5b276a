-- A keyed hash in place of a redacted value: equal values give equal hashes, so changes show, values do not.
-- HMAC-SHA-256 (RFC 2104) over the value's text; null stays null.
-- Called by: capture and gate functions of tables with redacted columns. Cost: some 10 µs.
create function rowcall.redacted_v1(value anyelement) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
  v_key bytea;
  v_inner bytea := '\x';
  v_outer bytea := '\x';
begin
  if num_nulls(value) = 1 then
    return null;
  end if;
  select redaction || decode(repeat('00', 64 - length(redaction)), 'hex') into v_key from rowcall.secret;
  for i in 0..63 loop
    v_inner := v_inner || set_byte('\x00', 0, get_byte(v_key, i) # 54);
    v_outer := v_outer || set_byte('\x00', 0, get_byte(v_key, i) # 92);
  end loop;
  return 'hmac-sha256:' || encode(sha256(v_outer || sha256(v_inner || convert_to(concat(value), 'UTF8'))), 'hex');
end $$;
