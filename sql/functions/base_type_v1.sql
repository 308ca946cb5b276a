-- The type below a domain, however many domains deep; any other type is its own.
-- Called by: encoding_v1, loss_v1, row_expression_v1.
create function rowcall.base_type_v1(type_oid oid) returns pg_catalog.pg_type
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type pg_type;
begin
  select * into strict v_type from pg_type where oid = type_oid;
  while v_type.typtype = 'd' loop
    select * into strict v_type from pg_type where oid = v_type.typbasetype;
  end loop;
  return v_type;
end $$;

-- The type of an array's elements; null for what is no array. int2vector and oidvector are arrays only in part: nothing
-- but their own input makes one whose bounds begin at 0.
create function rowcall.element_type_v1(type_oid oid) returns oid
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
  select typelem
  from rowcall.base_type_v1(type_oid)
  where typsubscript = 'array_subscript_handler'::regproc and oid <> all ('{int2vector,oidvector}'::regtype[])
$$;

-- The texts of an array's elements. An array of a user's domain goes by way of its own text, because to text[] its owner may
-- have made a cast, which would run with the rights of the capture function.
-- Called by: value_expression_v1, exact_value_v1.
create function rowcall.texts_expression_v1(value text, type_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format(case when (rowcall.base_type_v1(type_oid)).oid < 16384 then '%1$s::text[]'
    else 'case when num_nulls(%1$s) = 0 then concat(%1$s)::text[] end' end, value)
$$;
