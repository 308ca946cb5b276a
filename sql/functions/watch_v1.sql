-- Declares that a table's changes are captured and makes the triggers. options: {"exclude": […], "redact": […],
-- "erasable": […], "notify": …}. Says 'created', 'changed' or 'unchanged'. Errors name the cure; one transaction, nothing half installed.
-- Called by: rowcall watch, rowcall sync, op.watch_table. Runs with the caller's rights: the table's owner and a member
-- of Rowcall's owner.
create function rowcall.watch_v1(table_oid regclass, options jsonb, declared_by text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation integer;
  v_watch rowcall.watch;
  v_options constant jsonb := options || jsonb_build_object('attnums', rowcall.attnums_v1(table_oid, options));
begin
  perform rowcall.check_watchable_v1(table_oid, options);
  v_relation := rowcall.relation_id_v1(table_oid);
  select * into v_watch from rowcall.watch where relation = v_relation;
  if found and v_watch.declared_by <> watch_v1.declared_by and v_watch.options <> v_options then
    raise exception using errcode = '55006',
      message = format('%s is already watched by %s with other options.', table_oid, v_watch.declared_by),
      hint = format('Make the options the same, or run "rowcall unwatch %s" first.', table_oid);
  end if;
  if found and v_watch.options = v_options and rowcall.capture_is_current_v1(v_relation)
      and rowcall.capture_is_enabled_v1(v_relation) then
    return 'unchanged';
  end if;
  if v_watch.options -> 'erasable' is distinct from v_options -> 'erasable' or v_watch.relation is not null
      and (v_watch.options -> 'exclude', v_watch.options -> 'redact') is distinct from (v_options -> 'exclude', v_options -> 'redact')
  then
    -- So that no event of the new layout is committed, and sealed, before the layout is, and none with a value in the clear
    -- after it was declared that there shall be none.
    execute format('lock table %s in share row exclusive mode', table_oid);
  end if;
  insert into rowcall.watch (relation, declared_by, options)
    values (v_relation, watch_v1.declared_by, v_options)
    on conflict (relation) do update set options = excluded.options;
  perform rowcall.install_capture_v1(v_relation);
  perform rowcall.enable_capture_v1(v_relation);
  if to_regproc('rowcall.gate_' || v_relation) is not null then
    perform rowcall.install_guard_v1(v_relation);
  end if;
  return case when v_watch.relation is null then 'created' else 'changed' end;
end $$;
