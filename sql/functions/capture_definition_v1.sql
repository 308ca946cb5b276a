-- Generates the row-level capture function of a watched relation, columns baked in: a generic diff costs ten times as much.
-- The generated function:
--   is SECURITY DEFINER and belongs to rowcall_capture, so writers need no rights on the log;
--   checks that it fits the row, whatever keeps it true to the table: when it is planned where that will do, see planned_v1,
--   else at each call, see misfit_v1;
--   falls back to generic code where it does not fit, and where a value cannot be made an image, instead of failing the write:
--   images are computed in a block of its own that only reads, so that an error costs no transaction id, but for tables
--   in which none can happen, see is_sound_v1, since a block costs 2.9 µs a transaction. These leave big rows to the generic
--   code, see sound_size_v1: a gigabyte is the most that PostgreSQL holds in one value, and in one event;
--   writes nothing for an update that left every captured column as it was.
-- What a single-row transaction pays most for is making expressions ready, anew in each transaction: so few and small ones,
-- and no call that can be spared. src/rowcall/bench/README.md has the cost of each part and what was tried.
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.capture_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_class pg_class;
  v_lossy boolean;
  v_notify boolean;
  v_new_key text;
  v_old_key text;
  v_new text;
  v_old text;
  v_differences text;
  v_moves text := '';
  v_planned boolean;
  v_sound boolean;
  v_misfit text;
  v_room text := '';
  v_images text;
  v_generic text;
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  select * into strict v_class from pg_class where oid = v_relation.oid;
  v_notify := coalesce((v_options ->> 'notify')::boolean, false);
  v_planned := rowcall.planned_v1(v_relation.oid);
  v_sound := v_planned and rowcall.is_sound_v1(v_relation.oid, v_options);
  v_lossy := exists (select from rowcall.losses_v1(v_relation.oid, v_options, 'old', false));

  v_new_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'new');
  v_old_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'old');
  -- Held back deletes of partition moves are jsonb, see moves_v1.
  v_new := case v_class.relkind when 'p' then rowcall.image_expression_v1(v_relation.oid, v_options, 'new')
    else rowcall.stored_expression_v1(v_relation.oid, v_options, 'new') end;
  v_old := case v_class.relkind when 'p' then rowcall.image_expression_v1(v_relation.oid, v_options, 'old')
    else rowcall.stored_expression_v1(v_relation.oid, v_options, 'old') end;
  select string_agg(format(E'      if %s then\n%s%s      end if;\n', rowcall.difference_v1(name, type_oid),
      rowcall.old_value_v1(name, type_oid, encoding, redacted),
      case when key_position is not null then format(E'        v_next_key := %s;\n', v_new_key) else '' end), '')
    into v_differences
    from rowcall.columns_v1(v_relation.oid, v_options);

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
      v_operation := 'update'::rowcall.operation;
      v_next_key := nullif(v_key, v_moved.moved_key);
      v_key := v_moved.moved_key;
      v_old := rowcall.differing_v1(v_moved.moved_old, v_new);
    end if;
  end if;
$moves$, relation_id);
  end if;

  v_misfit := E'      if %s then\n        raise exception ''made for other columns'';\n      end if;\n';
  if not v_sound then
    -- In the block, so that an event that is too big, or too deep to be read, is found out where it can be made otherwise.
    v_room := case v_class.relkind when 'p' then $room$      if greatest(pg_column_size(v_old), pg_column_size(v_new)) > 30000 then
        if coalesce(octet_length(v_old::json::text), 0) + coalesce(octet_length(v_new::json::text), 0) > 500000000 then
          raise exception 'too big for an event';
        end if;
      end if;
$room$ else $room$      if coalesce(octet_length(v_old::text), 0) + coalesce(octet_length(v_new::text), 0) > 500000000 then
        raise exception 'too big for an event';
      end if;
$room$ end;
  end if;
  v_images := format($images$    if tg_op = 'UPDATE' then
%1$s%2$s      if v_text = '' then
        return null;
      end if;
      v_old := ('{' || substr(v_text, 2) || %3$s'}')::%4$s;
      v_new := %5$s;
      v_key := %6$s;
      v_operation := 'update'::rowcall.operation;
    elsif tg_op = 'INSERT' then
%1$s      v_new := %5$s;
      v_key := %7$s;
      v_operation := 'insert'::rowcall.operation;
    else
%8$s      v_old := %9$s;
      v_key := %6$s;
      v_operation := 'delete'::rowcall.operation;
    end if;
%10$s$images$,
    case when v_planned then '' else format(v_misfit, rowcall.misfit_v1(v_relation.oid, 'new')) end,
    v_differences,
    case when v_lossy
      then $$case when v_exact = '' then '' else ',"":{"exact":{' || substr(v_exact, 2) || '}}' end || $$ else '' end,
    case v_class.relkind when 'p' then 'jsonb' else 'json' end,
    v_new,
    v_old_key,
    v_new_key,
    case when v_planned then '' else format(v_misfit, rowcall.misfit_v1(v_relation.oid, 'old')) end,
    v_old,
    v_room);
  v_generic := format($generic$    declare
      v_image_old jsonb;
      v_image_new jsonb;
    begin
      v_key := null;
      v_next_key := null;
      v_operation := lower(tg_op)::rowcall.operation;
      if tg_op <> 'DELETE' then
        v_image_new := rowcall.fallback_image_v1(new, tg_relid, %1$L);
        v_next_key := rowcall.fallback_key_v1(v_image_new, tg_relid, %1$L);
      end if;
      if tg_op <> 'INSERT' then
        v_image_old := rowcall.fallback_image_v1(old, tg_relid, %1$L);
        v_key := rowcall.fallback_key_v1(v_image_old, tg_relid, %1$L);
      end if;
      if tg_op = 'UPDATE' then
        v_image_old := rowcall.differing_v1(v_image_old, v_image_new);
        if v_image_old = '{}' then
          return null;
        end if;
      end if;
      v_key := coalesce(v_key, v_next_key);
      v_next_key := nullif(v_next_key, v_key);
      v_old := v_image_old;
      v_new := v_image_new;
    end;
$generic$,
    v_options);

  return format($header$create or replace function rowcall.capture_%s() returns trigger
language plpgsql security definer
%s
as %L$header$,
    relation_id,
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    -- A literal, not dollar quotes: no name of a column can end it.
    format($body$
#variable_conflict use_variable
declare
  v_text text := '';
%1$s  v_key jsonb;
  v_next_key jsonb;
  v_old %2$s;
  v_new %2$s;
  v_context jsonb;
  v_operation rowcall.operation;
begin
%3$s%4$s%5$s  -- The doorbell, see bell_v1.
  if not pg_try_advisory_xact_lock_shared(1383036771, 0) then
    perform pg_notify('rowcall', '');
  end if;
%6$s  insert into rowcall.event (seq, xid, at, relation, operation, key, next_key, old, new, actor, context,
    db_user, db_role, application_name)
  values (%7$s, pg_current_xact_id(), clock_timestamp(), %8$s, v_operation, v_key, v_next_key, v_old, v_new,
    nullif(current_setting('rowcall.actor', true), ''), v_context, session_user, nullif(current_setting('role'), 'none'),
    nullif(current_setting('application_name'), ''));
  return null;
end $body$,
      case when v_planned then E'  v_fits boolean := false;\n' else '' end
        || case when v_lossy then E'  v_exact text := '''';\n' else '' end
        || case when v_class.relkind = 'p' then E'  v_moved record;\n' else '' end
        || case when v_notify then E'  v_seq bigint;\n' else '' end,
      case v_class.relkind when 'p' then 'jsonb' else 'json' end,
      case when v_planned then format(E'  if %s then\n    v_fits := %s%s;\n  end if;\n',
        rowcall.planned_columns_v1(v_relation.oid), rowcall.planned_types_v1(v_relation.oid, 'new'),
        case when v_sound then E'\n      and greatest(pg_column_size(old.*), pg_column_size(new.*)) < '
          || rowcall.sound_size_v1(v_relation.oid, v_options) else '' end) else '' end,
      case when v_sound then E'  if v_fits then\n' || v_images || E'  else\n' || v_generic || E'  end if;\n'
        else E'  begin\n'
          || case when v_planned then E'    if not v_fits then\n      raise exception ''made for other columns'';\n    end if;\n' else '' end
          || v_images || E'  exception when others then\n' || v_generic || E'  end;\n' end,
      v_moves || rowcall.context_statement_v1(),
      case when v_notify then format(
        E'  v_seq := nextval(''rowcall.event_seq'');\n'
        || E'  perform set_config(%1$L, coalesce(nullif(split_part(current_setting(%1$L, true), '' '', 1), ''''), v_seq::text)\n'
        || E'    || '' '' || v_seq, true);\n', 'rowcall.range_' || relation_id) else '' end,
      case when v_notify then 'v_seq' else 'nextval(''rowcall.event_seq'')' end,
      relation_id));
end $generator$;
