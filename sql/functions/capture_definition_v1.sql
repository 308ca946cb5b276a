-- Generates the capture function of a watched relation, columns baked in: a generic diff costs ten times as much.
-- The generated function:
--   is SECURITY DEFINER and belongs to rowcall_capture, so writers need no rights on the log;
--   computes images in a block of its own that only reads, so that a failure there costs no transaction id and falls
--   back to generic code instead of failing the write;
--   writes nothing for an update that left every captured column as it was.
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.capture_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_class pg_class;
  v_new_key text;
  v_old_key text;
  v_key_changes text;
  v_differences text;
  v_range text := '';
  v_drift text := '';
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  select * into strict v_class from pg_class where oid = v_relation.oid;

  v_new_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'new');
  v_old_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'old');
  select string_agg(rowcall.difference_v1(name, type_oid), ' or ') filter (where key_position is not null),
    string_agg(format(E'      if %s then\n        v_old := v_old || jsonb_build_object(%L, %s);\n      end if;\n',
      rowcall.difference_v1(name, type_oid), name,
      rowcall.value_expression_v1('old', name, encoding, redacted)), '')
    into v_key_changes, v_differences
    from rowcall.columns_v1(v_relation.oid, v_options);

  if coalesce((v_options ->> 'notify')::boolean, false) then
    v_range := format(
      E'  perform set_config(%1$L, coalesce(nullif(split_part(current_setting(%1$L, true), '' '', 1), ''''), v_seq::text)\n'
      || E'    || '' '' || v_seq, true);\n', 'rowcall.range_' || relation_id);
  end if;
  if v_class.relkind = 'r' and not v_class.relispartition then
    -- Asked by number, a column that exists answers true or false, one that does not answers null: a column was added
    -- and this code does not know it yet. A syscache look-up, no query.
    v_drift := format(
      E'    if has_column_privilege(tg_relid, %s::int2, ''select'') is not null then\n'
      || E'      raise exception ''a column was added'';\n    end if;\n', v_class.relnatts + 1);
  end if;

  return format($function$
create or replace function %1$s() returns trigger
language plpgsql security definer
%2$s
as $capture$
declare
  v_seq bigint;
  v_key jsonb;
  v_next_key jsonb;
  v_old jsonb;
  v_new jsonb;
  v_context jsonb;
begin
  begin
%10$s    if tg_op = 'INSERT' then
      v_new := %3$s;
      v_key := %4$s;
    elsif tg_op = 'UPDATE' then
      v_old := '{}';
%6$s      if v_old = '{}' then
        return null;
      end if;
      v_new := %3$s;
      v_key := %7$s;
%8$s    else
      v_old := %5$s;
      v_key := %7$s;
    end if;
    v_context := nullif(current_setting('rowcall.context', true), '');
  exception when others then
    v_key := null;
    if tg_op <> 'DELETE' then
      v_new := rowcall.fallback_image_v1(new, tg_relid, %12$L);
      v_next_key := rowcall.fallback_key_v1(v_new, tg_relid, %12$L);
    end if;
    if tg_op <> 'INSERT' then
      v_old := rowcall.fallback_image_v1(old, tg_relid, %12$L);
      v_key := rowcall.fallback_key_v1(v_old, tg_relid, %12$L);
    end if;
    if tg_op = 'UPDATE' and v_old = v_new then
      return null;
    end if;
    v_key := coalesce(v_key, v_next_key);
    if v_key = v_next_key then
      v_next_key := null;
    end if;
    v_context := rowcall.fallback_context_v1();
  end;
  v_seq := nextval('rowcall.event_seq');
%9$s  insert into rowcall.event (seq, xid, at, relation, operation, key, next_key, old, new, actor, context,
    db_user, db_role, application_name)
  values (v_seq, pg_current_xact_id(), clock_timestamp(), %11$s,
    case tg_op when 'INSERT' then 'insert'::rowcall.operation when 'UPDATE' then 'update' else 'delete' end,
    v_key, v_next_key, v_old, v_new, nullif(current_setting('rowcall.actor', true), ''), v_context,
    session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), ''));
  return null;
end $capture$$function$,
    format('rowcall.capture_%s', relation_id),
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    rowcall.image_expression_v1(v_relation.oid, v_options, 'new'),
    v_new_key,
    rowcall.image_expression_v1(v_relation.oid, v_options, 'old'),
    v_differences,
    v_old_key,
    case when v_key_changes is null then ''
      else format(E'      if %s then\n        v_next_key := %s;\n      end if;\n', v_key_changes, v_new_key) end,
    v_range,
    v_drift,
    relation_id,
    v_options);
end $generator$;
