-- The keys of a table in SQL: its rows in the order of their keys, a chunk at a time, and the rows that have given keys.

-- The key columns of a table in order, with the operators of their own type's order, which need not be on the search_path.
-- Called by: the functions below, queries/undo.sql.
create function rowcall.key_order_v1(table_oid oid, options jsonb)
returns table (name text, key_position integer, later text, same text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.name, c.key_position, o.later, o.same
  from rowcall.columns_v1(table_oid, options) as c
  cross join lateral (
    select coalesce(max(format('operator(%I.%s)', n.nspname, p.oprname)) filter (where m.amopstrategy = 5), 'operator(pg_catalog.>)'),
      coalesce(max(format('operator(%I.%s)', n.nspname, p.oprname)) filter (where m.amopstrategy = 3), 'operator(pg_catalog.=)')
    from pg_opclass as k
    join pg_am as a on a.oid = k.opcmethod and a.amname = 'btree'
    join pg_amop as m on m.amopfamily = k.opcfamily and m.amoplefttype = k.opcintype and m.amoprighttype = k.opcintype
    join pg_operator as p on p.oid = m.amopopr join pg_namespace as n on n.oid = p.oprnamespace
    where k.opcdefault and k.opcintype = (rowcall.base_type_v1(c.type_oid)).oid
  ) as o (later, same)
  where c.key_position is not null
$$;

-- The condition under which a row's key comes after another one's. A comparison of whole rows where it can be one, since an
-- index serves that.
-- Called by: next_rows_v1.
create function rowcall.later_key_v1(table_oid oid, options jsonb, row_name text, other_name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key record;
  v_condition text;
begin
  if not exists (select from rowcall.key_order_v1(table_oid, options) where later <> 'operator(pg_catalog.>)') then
    return (select format('(%s) > (%s)', string_agg(format('%s.%I', row_name, name), ', ' order by key_position),
        string_agg(format('(select %1$s.%2$I from %1$s)', other_name, name), ', ' order by key_position))
      from rowcall.key_order_v1(table_oid, options));
  end if;
  for v_key in
    select format('%s.%I', row_name, name) as own, format('(select %s.%I from %1$s)', other_name, name) as other, later, same
    from rowcall.key_order_v1(table_oid, options) order by key_position desc
  loop
    v_condition := format('%s %s %s', v_key.own, v_key.later, v_key.other)
      || coalesce(format(' or %s %s %s and ', v_key.own, v_key.same, v_key.other) || '(' || v_condition || ')', '');
  end loop;
  return format('(%s)', v_condition);
end $$;

-- The condition that a row has the key of another one, by the operators of the key's own types.
-- Called by: rest_statement_v1, baseline_rows_v1, live_literals_v1.
create function rowcall.same_key_v1(table_oid oid, options jsonb, row_name text, other_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('%1$s.%2$I %3$s %4$s.%2$I', row_name, name, same, other_name), ' and ' order by key_position)
  from rowcall.key_order_v1(table_oid, options)
$$;

-- The row whose key is given, of which only the key is known, as a table of one row; key is an SQL expression of type jsonb.
-- Called by: place_v1, rest_statement_v1, baseline_rows_v1.
create function rowcall.key_row_v1(table_oid oid, key text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('(select (made.row).* from (select %s as row offset 0) as made)', rowcall.row_expression_v1(table_oid, key))
$$;

-- The CTE "place": the key of the last row that was looked at. Nothing at the beginning.
-- Called by: chunk_statement_v1, baseline_chunk_v1.
create function rowcall.place_v1(table_oid oid, "position" jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when "position" is null then ''
    else format('place as materialized %s,', rowcall.key_row_v1(table_oid, quote_literal("position") || '::jsonb')) end
$$;

-- Which rows come after that place, and how many of them: the end of a select from "rowcall_row". All of a table without a key.
-- Called by: as place_v1.
create function rowcall.next_rows_v1(table_oid oid, options jsonb, "position" jsonb, many integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select concat(
    case when "position" is not null then 'where ' || rowcall.later_key_v1(table_oid, options, 'rowcall_row', 'place') end,
    (select format(' order by %s limit %s', string_agg(format('rowcall_row.%I', name), ', ' order by key_position), many)
     from rowcall.key_order_v1(table_oid, options) having count(*) > 0))
$$;

-- Whether that place is a key that JSON does not hold, as a null that is JSON's: nothing comes after it.
-- Called by: as place_v1.
create function rowcall.misread_v1(table_oid oid, options jsonb, "position" jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when "position" is null then 'false' else format('(select num_nulls(%s) > 0 from place)',
    (select string_agg(format('place.%I', name), ', ') from rowcall.key_order_v1(table_oid, options))) end
$$;
