-- Whether code for a table cannot fail on any value, so that it needs no block that catches errors: built-in types, whose output
-- functions take every value, and enumerations. Not redacted ones, which need the secret, nor xml, which has to be read. Nor
-- values of a few bytes whose text is too long, as 10,000 times 1e131071 is with its zeros, or too deep to be read: jsonb, numbers
-- in arrays and ranges, queries. A number alone prints as 150 kB at most, and a page holds no more than 800.
-- What is left is a row whose image is more than PostgreSQL holds in one value: code without a block has to look at its size.
-- Called by: the generators.
create function rowcall.is_sound_v1(table_oid oid, options jsonb) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not bool_or(redacted or encoding not in ('plain', 'json', 'text') or t.oid >= 16384 and t.typtype <> 'e'
    or t.oid = any ('{xml,jsonb,jsonpath,tsquery,nummultirange}'::regtype[])
    or coalesce(element = any ('{jsonb,jsonpath,tsquery,numeric,numrange,nummultirange}'::regtype[]), false))
  from rowcall.columns_v1(table_oid, options)
  cross join lateral rowcall.base_type_v1(type_oid) as t
  cross join lateral rowcall.element_type_v1(type_oid) as e (element)
$$;

-- How many bytes a row may have, compressed as it is, for such code: lz4 makes 255 of one, JSON up to 9 of that, and of a null
-- in an array, which takes a bit, 72.
-- Called by: capture_definition_v1.
create function rowcall.sound_size_v1(table_oid oid, options jsonb) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when count(rowcall.element_type_v1(type_oid)) > 0 then 12000 else 100000 end
  from rowcall.columns_v1(table_oid, options)
$$;
