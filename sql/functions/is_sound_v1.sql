-- Whether code for a table cannot fail on any value, so that it needs no block that catches errors: built-in types, whose output
-- functions take every value, and enumerations. Not redacted ones, which need the secret, nor xml, which has to be read.
-- What is left is a row whose image is more than PostgreSQL holds in one value: code without a block has to look at its size.
-- Called by: the generators.
create function rowcall.is_sound_v1(table_oid oid, options jsonb) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not bool_or(redacted or encoding not in ('plain', 'json', 'text') or t.oid >= 16384 and t.typtype <> 'e'
    or t.oid = 'xml'::regtype)
  from rowcall.columns_v1(table_oid, options)
  cross join lateral rowcall.base_type_v1(type_oid) as t
$$;
