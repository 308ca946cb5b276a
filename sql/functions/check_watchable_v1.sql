-- Refuses what cannot be watched, each with a sentence that names the cure.
-- Called by: watch_v1.
create function rowcall.check_watchable_v1(table_oid regclass, options jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char";
  v_schema text;
  v_column text;
begin
  select c.relkind, n.nspname into strict v_kind, v_schema
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = table_oid;
  if v_kind not in ('r', 'p') then
    raise exception using errcode = '42809', message = format('%s is not a table.', table_oid),
      hint = 'Watch the tables below it: only tables have row triggers.';
  end if;
  if v_schema = 'rowcall' then
    raise exception using errcode = '42809', message = format('%s belongs to Rowcall itself.', table_oid),
      hint = 'Watch your own tables.';
  end if;
  for v_column in
    select jsonb_array_elements_text(coalesce(options -> 'exclude', '[]') || coalesce(options -> 'redact', '[]'))
  loop
    if not exists (select from pg_attribute where attrelid = table_oid and attname = v_column and attnum > 0
                   and not attisdropped) then
      raise exception using errcode = '42703', message = format('%s has no column %I.', table_oid, v_column),
        hint = 'Correct the name in exclude or redact.';
    end if;
    if exists (select from rowcall.columns_v1(table_oid, '{}') where name = v_column and key_position is not null) then
      raise exception using errcode = '42P16',
        message = format('%s.%I is part of the key, which every event carries.', table_oid, v_column),
        hint = 'Leave it out of exclude and redact.';
    end if;
  end loop;
  for v_column in select jsonb_array_elements_text(coalesce(options -> 'erasable', '[]')) loop
    if not exists (select from pg_attribute where attrelid = table_oid and attname = v_column and attnum > 0
                   and not attisdropped) then
      raise exception using errcode = '42703', message = format('%s has no column %I.', table_oid, v_column),
        hint = 'Correct the name in erasable.';
    end if;
  end loop;
  if not exists (select from rowcall.columns_v1(table_oid, options)) then
    raise exception using errcode = '42P16', message = format('%s would be watched without a single column.', table_oid),
      hint = 'Exclude fewer columns.';
  end if;
end $$;
