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
  v_moves text := '';
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  select * into strict v_class from pg_class where oid = v_relation.oid;

  v_new_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'new');
  v_old_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'old');
  select string_agg(rowcall.difference_v1(name, type_oid), ' or ') filter (where key_position is not null),
    string_agg(format(E'      if %s then\n%s      end if;\n', rowcall.difference_v1(name, type_oid),
      rowcall.old_value_v1(name, type_oid, encoding, redacted)), '')
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

  if v_class.relkind = 'p' then
    v_moves := format($moves$
  if tg_op <> 'UPDATE' and right(current_setting('rowcall.statements', true), 1) = 'u' then
    -- An UPDATE moves this row to another partition: PostgreSQL deletes it there and inserts it here, next to each other.
    if tg_op = 'DELETE' then
      perform rowcall.flush_move_v1(%1$s);
      insert into rowcall.moving (xid, relation, moved_key, moved_old) values (pg_current_xact_id(), %1$s, v_key, v_old);
      return null;
    end if;
    delete from rowcall.moving where xid = pg_current_xact_id() and relation = %1$s returning moved_key, moved_old into v_moved;
    if found then
      v_operation := 'update';
      v_next_key := nullif(v_key, v_moved.moved_key);
      v_key := v_moved.moved_key;
      v_old := rowcall.differing_v1(v_moved.moved_old, v_new);
    end if;
  end if;
$moves$, relation_id);
  end if;

  return format($header$create or replace function %s() returns trigger
language plpgsql security definer
%s
as %L$header$,
    format('rowcall.capture_%s', relation_id),
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    -- A literal, not dollar quotes: no name of a column can end it.
    format($body$
declare
  v_seq bigint;
  v_key jsonb;
  v_next_key jsonb;
  v_old jsonb;
  v_new jsonb;
  v_context jsonb;
  v_operation rowcall.operation := lower(tg_op);
  v_moved record;
begin
  begin
%8$s    if tg_op = 'INSERT' then
      v_new := %1$s;
      v_key := %2$s;
    elsif tg_op = 'UPDATE' then
      v_old := '{}';
%4$s      if v_old = '{}' then
        return null;
      end if;
      v_new := %1$s;
      v_key := %5$s;
%6$s    else
      v_old := %3$s;
      v_key := %5$s;
    end if;
    v_context := nullif(current_setting('rowcall.context', true), '');
  exception when others then
    v_key := null;
    if tg_op <> 'DELETE' then
      v_new := rowcall.fallback_image_v1(new, tg_relid, %10$L);
      v_next_key := rowcall.fallback_key_v1(v_new, tg_relid, %10$L);
    end if;
    if tg_op <> 'INSERT' then
      v_old := rowcall.fallback_image_v1(old, tg_relid, %10$L);
      v_key := rowcall.fallback_key_v1(v_old, tg_relid, %10$L);
    end if;
    if tg_op = 'UPDATE' and v_old = v_new then
      return null;
    end if;
    v_key := coalesce(v_key, v_next_key);
    if v_key = v_next_key then
      v_next_key := null;
    end if;
    v_context := rowcall.fallback_context_v1();
  end;%11$s
  v_seq := nextval('rowcall.event_seq');
%7$s  insert into rowcall.event (seq, xid, at, relation, operation, key, next_key, old, new, actor, context,
    db_user, db_role, application_name)
  values (v_seq, pg_current_xact_id(), clock_timestamp(), %9$s, v_operation, v_key, v_next_key, v_old, v_new, nullif(current_setting('rowcall.actor', true), ''), v_context,
    session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), ''));
  return null;
end $body$,
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
    v_options,
    v_moves));
end $generator$;
