-- Sees to it that validation fires last: what handlers and rules judged is what is written.
--
-- BEFORE ROW triggers fire in the order of their names, byte by byte. "zz_rowcall_…" comes after most, and where a trigger of
-- somebody else's comes after it still, ours are renamed to come after that one. This instead of comparing the row that was
-- judged with the row that is written: that would refuse every write of a table whose owner has a harmless "zzz_set_updated_at", and
-- would have to remember rows across suppressed writes, nested statements and savepoints. Names cost a writer nothing.
-- A rename keeps the trigger's WHEN as it was understood when it was made, so DDL that anybody runs can be followed. It waits for
-- who reads the table, as most DDL does.

-- BEFORE ROW triggers of others, of a relation or its partitions. Disabled ones too: what enables them may not be followed.
create function rowcall.others_before_v1(relation_id integer) returns table (trigger_oid oid, table_oid oid, name name, inserts boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select t.oid, t.tgrelid, t.tgname, t.tgtype & 4 <> 0
  from rowcall.relation as r
  cross join lateral (select r.oid union select relid from pg_partition_tree(r.oid)) as p (oid)
  join pg_trigger as t on t.tgrelid = p.oid and not t.tgisinternal and t.tgtype & 67 = 3
  where r.id = relation_id
    and not exists (select from pg_proc where oid = t.tgfoid and pronamespace = 'rowcall'::regnamespace)
$$;

-- The validation triggers that a table has, by their functions: whatever they are called.
create function rowcall.guards_of_v1(table_oid oid) returns setof pg_trigger
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select t.*
  from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
  where t.tgrelid = table_oid and not t.tgisinternal
    and p.pronamespace = 'rowcall'::regnamespace and p.proname ~ '^((gate|refuse|warn)_[0-9]+|amend_v1|moved_v1)$'
$$;

-- What the names of a relation's validation triggers begin with: what they begin with now, if that will do, so that nothing is to be
-- done where somebody drops the trigger that was late. Nothing sorts after everything, but the last of these nearly does; where it
-- does not either, it is the first, and "rowcall doctor" says so.
create function rowcall.guard_prefix_v1(relation_id integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with other as (
    select name from rowcall.others_before_v1(relation_id)
  ), offered as (
    select 0 as place, min(substring(t.tgname from '^(.*?rowcall_)[0-9]')) as prefix
    from rowcall.relation as r cross join lateral rowcall.guards_of_v1(r.oid) as t
    where r.id = relation_id and t.tgparentid = 0
    having count(distinct substring(t.tgname from '^(.*?rowcall_)[0-9]')) = 1
    union all
    select 1, 'zz_rowcall_'
    union all
    select 1 + n, repeat('~', n) || 'rowcall_' from generate_series(1, 3) as n
    union all
    select 5, chr(1114111) || 'rowcall_' where getdatabaseencoding() = 'UTF8'
  )
  select coalesce(
    (select prefix from offered where prefix::name > all (select name from other) order by place limit 1), 'zz_rowcall_')
$$;

-- Gives a relation's validation triggers the names they should have, and makes or drops those about moved rows, which depend on
-- the triggers of others and hold no expression of a user's.
-- Each is looked up anew, because every one of these statements is DDL that follow_ddl_v1 follows.
-- Called by: guard_v1, and refresh_v1 after DDL.
create function rowcall.place_guards_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table constant regclass := (select oid from rowcall.relation where id = relation_id);
  v_statement text;
  v_moved record;
begin
  for v_statement in
    select format('drop trigger %I on %s', t.tgname, v_table)
    from rowcall.guards_of_v1(v_table) as t
    where t.tgparentid = 0 and substring(t.tgname from 'rowcall_([0-9].*)') ~ '^[02]_moved_'
      and not exists (
        select from rowcall.moved_triggers_v1(relation_id) as m where obj_description(t.oid, 'pg_trigger') = md5(m.statement))
  loop
    execute v_statement;
  end loop;
  for v_moved in
    select m.name, m.statement from rowcall.moved_triggers_v1(relation_id) as m
    where not exists (select from rowcall.guards_of_v1(v_table) as t where obj_description(t.oid, 'pg_trigger') = md5(m.statement))
  loop
    execute v_moved.statement;
    execute format('comment on trigger %I on %s is %L', v_moved.name, v_table, md5(v_moved.statement));
  end loop;
  loop
    v_statement := rowcall.rename_guard_v1(relation_id);
    exit when v_statement is null;
    execute v_statement;
  end loop;
end $$;

-- The statement that gives one more validation trigger its name; null if all have theirs.
-- Before PostgreSQL 15 those of partitions do not get the name of their parent's.
create function rowcall.rename_guard_v1(relation_id integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('alter trigger %I on %s rename to %I', t.tgname, t.tgrelid::regclass, g.wanted)
  from rowcall.relation as r
  cross join lateral (
    select r.oid, false as is_below
    union all
    select relid, true from pg_partition_tree(r.oid) where relid <> r.oid and current_setting('server_version_num')::integer < 150000
  ) as p (oid, is_below)
  cross join lateral rowcall.guards_of_v1(p.oid) as t
  cross join lateral (
    select (rowcall.guard_prefix_v1(relation_id) || substring(t.tgname from 'rowcall_([0-9].*)'))::name as wanted
  ) as g
  where r.id = relation_id and (t.tgparentid <> 0) = p.is_below and t.tgname <> g.wanted
  order by t.tgname
  limit 1
$$;
