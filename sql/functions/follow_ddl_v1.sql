-- Keeps capture true to the tables while people change them: after DDL on a watched table, its partitions or its triggers,
-- the functions and triggers are generated anew in the same transaction; a dropped table's history stays under its name.
-- Validation triggers hold expressions of users', so they are made anew by "rowcall sync" only, but keep their place after all others.
-- What goes wrong here becomes a warning, not a failed migration: the triggers then stay as they were until "rowcall sync". Only
-- where not even functions that fit can be made does the DDL fail: capture relies on being made anew, see planned_v1.
-- SECURITY DEFINER, because whoever may alter a table need not be allowed to make functions in schema rowcall.
-- Called by: the event triggers rowcall_follow_ddl and rowcall_follow_drop, which only a superuser can make.

-- Gives options that name columns the names these have now.
create function rowcall.follow_renames_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_options jsonb;
  v_oid oid;
  v_list text;
begin
  select w.options, r.oid into v_options, v_oid
    from rowcall.watch as w join rowcall.relation as r on r.id = w.relation where r.id = relation_id;
  foreach v_list in array '{exclude,redact,columns,erasable}'::text[] loop
    if v_options ? v_list and (v_options #>> '{attnums,""}')::oid = v_oid then
      v_options := v_options || jsonb_build_object(v_list, (
        select coalesce(jsonb_agg(coalesce(a.attname::text, listed) order by position), '[]')
        from jsonb_array_elements_text(v_options -> v_list) with ordinality as l (listed, position)
        left join pg_attribute as a on a.attrelid = v_oid and not a.attisdropped
          and a.attnum = (v_options #>> array['attnums', listed])::int2));
    end if;
  end loop;
  v_options := v_options || jsonb_build_object('attnums', rowcall.attnums_v1(v_oid, v_options));
  update rowcall.watch as w set options = v_options where w.relation = relation_id and w.options <> v_options;
end $$;

create function rowcall.refresh_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform rowcall.relation_id_v1(r.oid) from rowcall.relation as r where r.id = relation_id;
  perform rowcall.follow_renames_v1(relation_id);
  if exists (select from rowcall.watch where relation = relation_id)
      and not rowcall.capture_is_current_v1(relation_id) then
    perform rowcall.install_capture_v1(relation_id);
  end if;
  if to_regproc('rowcall.gate_' || relation_id) is not null and not rowcall.guard_is_current_v1(relation_id) then
    perform rowcall.install_guard_v1(relation_id);
    perform rowcall.place_guards_v1(relation_id);
  end if;
end $$;

-- The functions alone, where the triggers could not be made, so that no code meets a table it was not made for: somebody who
-- is able to make refresh_v1 fail, say by a trigger of one of our names, must gain nothing by it.
create function rowcall.fit_functions_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform rowcall.follow_renames_v1(relation_id);
  perform rowcall.install_functions_v1(relation_id) from rowcall.watch where relation = relation_id;
  if to_regproc('rowcall.gate_' || relation_id) is not null then
    perform rowcall.install_guard_v1(relation_id);
  end if;
exception when others then
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception 'rowcall: % was altered since this transaction began, which sees the catalog as it was', (
      select table_name from rowcall.relation where id = relation_id)
      using errcode = 'serialization_failure', hint = 'Nothing was altered. Run the transaction again.', detail = sqlerrm;
  end if;
  raise exception 'rowcall: the functions that capture % could not be generated anew: %', (
    select table_name from rowcall.relation where id = relation_id), sqlerrm
    using errcode = sqlstate,
      hint = 'Nothing was altered. Try again; if it fails again, run "rowcall unwatch" first and "rowcall sync" afterwards.';
end $$;

-- Has the capture of a relation follow a command. Where it cannot, the functions at least are made to fit, and a warning says so.
-- Called by: follow_ddl_v1, follow_drop_v1.
create function rowcall.follow_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform rowcall.refresh_v1(relation_id);
exception when others then
  perform rowcall.fit_functions_v1(relation_id);
  raise warning 'rowcall: the capture of % was not generated anew: %', (select table_name from rowcall.relation
    where id = relation_id), sqlerrm using hint = 'Run "rowcall sync"; until then it goes on with the triggers it has.';
end $$;

create function rowcall.follow_ddl_v1() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_touched oid[];
  v_schemas oid[];
  v_relation integer;
begin
  -- In two steps: of what a function and a recursion may give the planner expects so much that PostgreSQL would spend a
  -- millisecond on room for it, at every command.
  select array_agg(oid) filter (where oid is not null), array_agg(objid) filter (where classid = 'pg_namespace'::regclass)
    into v_touched, v_schemas
    from (
      select case d.classid when 'pg_trigger'::regclass then (select tgrelid from pg_trigger where oid = d.objid)
        when 'pg_class'::regclass then d.objid end as oid, d.classid, d.objid
      from pg_event_trigger_ddl_commands() as d
      -- Not our own: this is how the triggers that a refresh makes do not ask for another. No setting says so, which anybody
      -- could set to keep code that does not fit. For the one trigger: with EXISTS the planner looks for all that there are first.
      where d.command_tag <> 'CREATE TRIGGER' or 'rowcall'::regnamespace is distinct from (
        select p.pronamespace from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid where t.oid = d.objid)
      union all
      -- Typed tables have the columns of their type.
      select c.oid, 'pg_class'::regclass, c.oid
      from pg_event_trigger_ddl_commands() as d
      join pg_class as composite on composite.oid = d.objid and composite.relkind = 'c'
      join pg_class as c on c.reloftype = composite.reltype
      where d.classid = 'pg_class'::regclass
    ) as touched;
  if num_nonnulls(v_touched, v_schemas) = 0 then
    return;
  end if;
  for v_relation in
    with recursive above as (
      -- A parent's transition tables hold the rows of its children, so it changes its way of capturing when it gets one.
      select oid from unnest(v_touched) as touched (oid)
      union
      -- So does a table that another one with triggers has a foreign key onto, see capture_mode_v1.
      select confrelid from pg_constraint where contype = 'f' and conrelid = any (v_touched)
      union
      select i.inhparent from above join pg_inherits as i on i.inhrelid = above.oid
    ), below as (
      -- Columns of a parent are its children's, and a table that becomes a partition is not what statements name any more.
      select oid from unnest(v_touched) as touched (oid)
      union
      select i.inhrelid from below join pg_inherits as i on i.inhparent = below.oid
    )
    select distinct r.id
    from rowcall.relation as r
    join pg_class as c on c.oid = r.oid
    where r.dropped_at is null
      and (r.oid in (select oid from above union all select oid from below) or c.relnamespace = any (v_schemas))
  loop
    perform rowcall.follow_v1(v_relation);
  end loop;
end $$;

-- What is dropped by CASCADE takes with it the columns of its type, and triggers whose WHEN speaks of it: those of a watch with
-- "columns" or "when" are ours.
create function rowcall.follow_drop_v1() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation integer;
begin
  begin
    update rowcall.relation as r set dropped_at = clock_timestamp()
    from pg_event_trigger_dropped_objects() as d
    where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.objsubid = 0 and r.dropped_at is null;
  exception when others then
    raise warning 'rowcall: a dropped table was not noted: %', sqlerrm;
  end;
  for v_relation in
    select distinct r.id
    from pg_event_trigger_dropped_objects() as d
    join rowcall.relation as r on r.dropped_at is null and (d.classid = 'pg_class'::regclass and d.objsubid <> 0 and d.objid = r.oid
      or d.classid = 'pg_trigger'::regclass and d.address_names[1] = r.schema_name and d.address_names[2] = r.table_name)
    join pg_class as c on c.oid = r.oid
  loop
    perform rowcall.follow_v1(v_relation);
  end loop;
end $$;

-- ALTER TABLE … DETACH leaves statement triggers behind on what is no partition any more.
do $$
begin
  if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    -- CREATE SCHEMA may make tables, ALTER INDEX rename them, an extension's script do anything.
    create event trigger rowcall_follow_ddl on ddl_command_end
      when tag in ('ALTER TABLE', 'CREATE TABLE', 'CREATE TABLE AS', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE INDEX',
        'ALTER SCHEMA', 'CREATE SCHEMA', 'ALTER INDEX', 'ALTER TYPE', 'CREATE EXTENSION', 'ALTER EXTENSION')
      execute function rowcall.follow_ddl_v1();
    create event trigger rowcall_follow_drop on sql_drop
      when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TYPE', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP FUNCTION',
        'DROP ROUTINE', 'DROP OPERATOR', 'DROP CAST', 'DROP COLLATION', 'DROP LANGUAGE')
      execute function rowcall.follow_drop_v1();
    -- Also while session_replication_role is replica: the code that they keep true checks nothing itself.
    alter event trigger rowcall_follow_ddl enable always;
    alter event trigger rowcall_follow_drop enable always;
  else
    raise notice 'rowcall: not a superuser, so no event trigger: run "rowcall sync" after changing watched tables';
  end if;
end $$;
