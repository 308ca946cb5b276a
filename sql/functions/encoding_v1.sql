-- How a column's values go into an image, decided by type when the capture function is generated:
--   plain  to_jsonb as it is: built-in types, domains over them, arrays of both
--   json   the text of a json or xml value as a JSON string (json keeps spaces, duplicates and \u0000, which jsonb cannot;
--          xml keeps its declaration, which its output function drops)
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
  v_type constant pg_type := rowcall.base_type_v1(type_oid);
  -- Most types have none, and this is asked of each column some thirty times a watch.
  v_element constant oid := case when v_type.typelem <> 0 then rowcall.element_type_v1(type_oid) end;
begin
  if v_element is not null then
    return case
      -- A domain over an array: to_jsonb would make one more dimension of it.
      when rowcall.element_type_v1(v_element) is not null then 'texts'
      else case rowcall.encoding_v1(v_element) when 'plain' then 'plain' when 'json' then 'jsons' else 'texts' end
    end;
  end if;
  return case
    when v_type.oid = any ('{json,xml}'::regtype[]) then 'json'
    when v_type.oid = any ('{int2vector,oidvector}'::regtype[]) then 'text'
    when v_type.oid < 16384 and v_type.typtype <> 'c' then 'plain'
    else 'text'
  end;
end $$;
