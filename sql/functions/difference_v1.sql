-- The condition under which an update changed a column. Comparing binary images (the function behind *<>) sees what equality
-- of the type hides: scale of a numeric, case of a citext, -0, spaces in a json; it runs no operator and no cast of a
-- user's. Where equal means identical, IS DISTINCT FROM says the same for less, as long as the column has that type.
-- Called by: the generator.
create function rowcall.difference_v1(column_name text, type_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when type_oid = any ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea,xid8,"char"}'::regtype[])
      then format('old.%1$I is distinct from new.%1$I', column_name)
    -- Byte by byte, whatever the collation calls equal.
    when type_oid = any ('{text,varchar}'::regtype[])
      then format('old.%1$I collate "C" is distinct from new.%1$I collate "C"', column_name)
    else format('pg_catalog.record_image_ne(row(old.%1$I), row(new.%1$I))', column_name)
  end
$$;
