-- How a column's values go into an image, decided by type when the capture function is generated:
--   plain  to_jsonb as it is: built-in types, domains over them, arrays of both
--   json   the text of a json value as a JSON string (json keeps spaces, duplicates and \u0000; jsonb cannot)
--   jsons  the same, an array of them
--   text   what the type's output function prints, as a JSON string: types that somebody defined
--   texts  the same, an array of them
-- to_jsonb of a user's type would run a cast to json that the type's owner may have written, with the rights
-- of the capture function; output functions are built in or installed by a superuser.
-- Called by: the generator. Cost: none at run time.
create function rowcall.encoding_v1(type_oid oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type pg_type;
  v_element text;
begin
  select * into strict v_type from pg_type where oid = type_oid;
  while v_type.typtype = 'd' loop
    select * into strict v_type from pg_type where oid = v_type.typbasetype;
  end loop;
  if v_type.typcategory = 'A' and v_type.typelem <> 0 and v_type.typsubscript = 'array_subscript_handler'::regproc then
    v_element := rowcall.encoding_v1(v_type.typelem);
    return case v_element when 'plain' then 'plain' when 'json' then 'jsons' else 'texts' end;
  end if;
  return case
    when v_type.oid = 'json'::regtype then 'json'
    when v_type.oid < 16384 and v_type.typtype <> 'c' then 'plain'
    else 'text'
  end;
end $$;
