-- Generates the validation functions of a relation: gate_N asks the before-handlers, refuse_N raises what a rule found, and
-- warn_N records what a rule found that only warns.
-- They are SECURITY DEFINER and belong to rowcall_gate, which may use the gate's connection; they see the row only through
-- the same images as the log, so excluded columns are absent from requests, rejections and messages too. As in the capture
-- function, code that no longer fits the table falls back to generic code instead of failing the write.
-- gate_N's arguments: timeout in ms, on_unavailable, then the handlers' names in order.
-- refuse_N's and warn_N's arguments: the rule's name and its message; with a third and a fourth, refuse_N speaks in the name of a
-- before-handler instead, and gives a hint.
-- Called by: install_guard_v1, guard_is_current_v1.
create function rowcall.guard_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_images text;
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  v_options := coalesce((select options from rowcall.watch where relation = relation_id), '{}');
  v_images := format($images$
  begin
    if tg_op <> 'INSERT' then
      if %8$s then
        raise exception 'made for other columns';
      end if;
      v_old := %1$s;
      v_key := %3$s;
    end if;
    if tg_op <> 'DELETE' then
      if %7$s then
        raise exception 'made for other columns';
      end if;
      v_new := %2$s;
      v_key := coalesce(v_key, %4$s);
    end if;
  exception when others then
    v_key := null;
    if tg_op <> 'INSERT' then
      v_old := rowcall.fallback_image_v1(old, tg_relid, %5$L);
      v_key := rowcall.fallback_key_v1(v_old, tg_relid, %5$L);
    end if;
    if tg_op <> 'DELETE' then
      v_new := rowcall.fallback_image_v1(new, tg_relid, %5$L);
      v_key := coalesce(v_key, rowcall.fallback_key_v1(v_new, tg_relid, %5$L));
    end if;
  end;
  v_request := rowcall.request_v1(%6$s, tg_op, v_key, v_old, v_new);$images$,
    rowcall.image_expression_v1(v_relation.oid, v_options, 'old'),
    rowcall.image_expression_v1(v_relation.oid, v_options, 'new'),
    rowcall.key_expression_v1(v_relation.oid, v_options, 'old'),
    rowcall.key_expression_v1(v_relation.oid, v_options, 'new'),
    v_options,
    relation_id,
    rowcall.misfit_v1(v_relation.oid, 'new'),
    rowcall.misfit_v1(v_relation.oid, 'old'));
  -- Bodies are literals, not dollar quotes: no name of a column can end them.
  return format(E'create or replace function rowcall.gate_%1$s() returns trigger\nlanguage plpgsql security definer\n%2$s\nas %3$L;\n\n'
    || E'create or replace function rowcall.refuse_%1$s() returns trigger\nlanguage plpgsql security definer\n%2$s\nas %4$L;\n\n'
    || E'create or replace function rowcall.warn_%1$s() returns trigger\nlanguage plpgsql security definer\n%2$s\nas %5$L',
    relation_id,
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    format($gate$
#variable_conflict use_variable
declare
  v_old jsonb;
  v_new jsonb;
  v_key jsonb;
  v_request jsonb;
  v_answer jsonb;
begin%1$s
  v_request := v_request || jsonb_build_object('timeout_ms', tg_argv[0]::integer,
    'on_unavailable', tg_argv[1], 'handlers', to_jsonb(tg_argv[2:]));
  -- The gate's session cuts at the deadline itself; the margin is for a gate that hangs.
  v_answer := rowcall.ask_v1('gate_ask_v1', v_request, tg_argv[0]::integer + 20);
  if coalesce(v_answer ->> 'verdict', 'lost') = 'lost' then
    v_answer := rowcall.gate_unanswered_v1(v_request);
  end if;
  if v_answer ->> 'verdict' = 'reject' then
    raise exception using errcode = '23514',
      message = format('%%s of %%I.%%I was rejected by %%s: %%s', lower(tg_op), tg_table_schema, tg_table_name,
        v_answer ->> 'handler', v_answer ->> 'message'),
      constraint = v_answer ->> 'handler', schema = tg_table_schema, table = tg_table_name,
      column = coalesce(v_answer ->> 'column', ''),
      hint = coalesce(v_answer ->> 'hint', 'The rejection is recorded: see "rowcall audit rejections".');
  end if;
  perform set_config('rowcall.amendment', coalesce(v_answer ->> 'amendment', ''), true);%2$s
  return case when tg_op = 'DELETE' then old else new end;
end $gate$, v_images, case when (select relkind = 'p' from pg_class where oid = v_relation.oid) then $judged$
  if tg_op = 'UPDATE' then
    perform set_config('rowcall.judged', concat(tg_relid, ' ', old.ctid), true);
  end if;$judged$ end),
    format($refuse$
#variable_conflict use_variable
declare
  v_old jsonb;
  v_new jsonb;
  v_key jsonb;
  v_request jsonb;
  v_column constant text := rowcall.rule_column_v1(tg_relid, tg_name);
  v_by constant text := coalesce(tg_argv[2], 'rule');
  v_message constant text := format(case v_by when 'rule' then '%%s of %%I.%%I violates rule "%%s": %%s'
    else '%%s of %%I.%%I was rejected by %%s: %%s' end, lower(tg_op), tg_table_schema, tg_table_name, tg_argv[0], tg_argv[1]);
begin
  if to_regprocedure('rowcall.ask_v1(text, jsonb, integer)') is not null then%1$s
    perform rowcall.ask_v1('gate_refuse_v1',
      v_request || jsonb_build_object(v_by, tg_argv[0], 'message', tg_argv[1], 'column', v_column), 1000);
  end if;
  if v_by = 'handler' then
    raise exception using errcode = '23514', message = v_message, hint = tg_argv[3],
      constraint = tg_argv[0], schema = tg_table_schema, table = tg_table_name;
  elsif v_column is null then
    raise exception using errcode = '23514', message = v_message,
      constraint = tg_argv[0], schema = tg_table_schema, table = tg_table_name;
  end if;
  raise exception using errcode = '23514', message = v_message,
    constraint = tg_argv[0], schema = tg_table_schema, table = tg_table_name, column = v_column;
end $refuse$, v_images),
    format($warn$
#variable_conflict use_variable
declare
  v_old jsonb;
  v_new jsonb;
  v_key jsonb;
  v_request jsonb;
begin%1$s
  perform rowcall.record_rejection_v1(v_request || jsonb_build_object('outcome', 'warned', 'rule', tg_argv[0],
    'message', tg_argv[1], 'column', rowcall.rule_column_v1(tg_relid, tg_name)));
  return case when tg_op = 'DELETE' then old else new end;
end $warn$, v_images));
end $generator$;
