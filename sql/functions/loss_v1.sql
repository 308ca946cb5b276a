-- The condition under which an image's JSON does not hold a value, null for types whose values it always holds. What is lost is
-- the sign of a zero, the difference of JSON null to SQL NULL, where an array begins, and in jsonb[] what is a dimension and
-- what a value. value is an expression of that type, such as new.data.
-- Where it is true, the image's key "" holds the value's text too, see exact_expression_v1.
-- Called by: exact_expression_v1, old_value_v1, fallback_image_v1. Cost at run time: some 0.1 µs a column of such a type.
create function rowcall.loss_v1(value text, type_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format(case
    when element is null then case
      -- A JSON null takes 12 bytes; the size is known without fetching a value that is stored apart.
      when base = 'jsonb'::regtype then 'pg_column_size(%1$s) < 16 and jsonb_typeof(%1$s) = ''null'''
      when base = any ('{float4,float8}'::regtype[]) then '%1$s = 0 and concat(%1$s) = ''-0'''
    end
    else 'array_lower(%1$s, 1) <> 1'
      || ' or array_ndims(%1$s) > 1 and strpos(replace(array_dims(%1$s), ''[1:'', ''''), ''['') > 0'
      || case
        when element_base = 'jsonb'::regtype then ' or concat(%1$s) ~ ''[{,]("null"[,}]|"?[[])'''
        when element_base = any ('{float4,float8}'::regtype[])
          -- By way of text: to float8[] the owner of an element's domain may have made a cast.
          then ' or 0::float8 = any (nullif(concat(%1$s), '''')::float8[]) and concat(%1$s) ~ ''[{,]-0[,}]'''
        else ''
      end
    end, value)
  from (
    select element, (rowcall.base_type_v1(type_oid)).oid as base, (rowcall.base_type_v1(element)).oid as element_base
    from rowcall.element_type_v1(type_oid) as e (element)
  ) as types
$$;

-- The expression for the text of such a value. Not what an array of xml prints as, which drops declarations.
create function rowcall.exact_value_v1(value text, type_oid oid, encoding text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('concat(%s)', case encoding when 'jsons' then rowcall.texts_expression_v1(value, type_oid) else value end)
$$;
