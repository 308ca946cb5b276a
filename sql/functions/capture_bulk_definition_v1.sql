-- Generates the statement-level capture function of a relation, for its inserts and deletes: one INSERT … SELECT from the
-- transition table. Where the code does not fit the table any more (a column went away while the event trigger slept), the
-- generic form does the same; it is found out on one row, by reading only: an exception block around the INSERT would cost
-- a transaction id a statement.
-- Called by: install_capture_v1, capture_is_current_v1, for tables in capture mode 'statement'.
create function rowcall.capture_bulk_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_natts integer;
  v_key text;
  v_image text;
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  select relnatts into strict v_natts from pg_class where oid = v_relation.oid;
  v_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'rowcall_row');
  v_image := rowcall.image_expression_v1(v_relation.oid, v_options, 'rowcall_row');
  return format($header$create or replace function rowcall.capture_bulk_%s() returns trigger
language plpgsql security definer
%s
as %L$header$,
    relation_id,
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    format($body$
declare
  v_xid constant xid8 := pg_current_xact_id_if_assigned();
  v_actor constant text := nullif(current_setting('rowcall.actor', true), '');
  v_context constant jsonb := rowcall.fallback_context_v1();
  v_user constant text := session_user;
  v_role constant text := nullif(current_setting('role'), 'none');
  v_application constant text := nullif(current_setting('application_name'), '');
  v_fits boolean := has_column_privilege(tg_relid, %2$s::int2, 'select') is null;
begin
  begin
    -- Reads one row only, so its failure costs no transaction id: does this code still fit the table?
    if tg_op = 'INSERT' then
      perform %5$s from new_rows as rowcall_row limit 1;
    else
      perform %5$s from old_rows as rowcall_row limit 1;
    end if;
  exception when others then
    v_fits := false;
  end;
  if tg_op = 'INSERT' and v_fits then
    insert into rowcall.event (seq, xid, at, relation, operation, key, new, actor, context, db_user, db_role, application_name)
    select nextval('rowcall.event_seq'), v_xid, clock_timestamp(), %1$s, 'insert', %3$s, %4$s,
      v_actor, v_context, v_user, v_role, v_application
    from new_rows as rowcall_row;
  elsif v_fits then
    insert into rowcall.event (seq, xid, at, relation, operation, key, old, actor, context, db_user, db_role, application_name)
    select nextval('rowcall.event_seq'), v_xid, clock_timestamp(), %1$s, 'delete', %3$s, %4$s,
      v_actor, v_context, v_user, v_role, v_application
    from old_rows as rowcall_row;
  else
    -- The same with expressions made for the columns of this moment.
    execute format($statement$
      insert into rowcall.event (seq, xid, at, relation, operation, key, %%I, actor, context, db_user, db_role, application_name)
      select nextval('rowcall.event_seq'), $1, clock_timestamp(), %1$s, $2, %%s, %%s, $3, $4, $5, $6, $7
      from %%I as rowcall_row$statement$,
      case tg_op when 'INSERT' then 'new' else 'old' end,
      rowcall.key_expression_v1(tg_relid, %6$L, 'rowcall_row'),
      rowcall.image_expression_v1(tg_relid, %6$L, 'rowcall_row'),
      case tg_op when 'INSERT' then 'new_rows' else 'old_rows' end)
      using v_xid, lower(tg_op)::rowcall.operation, v_actor, v_context, v_user, v_role, v_application;
  end if;
  return null;
end $body$,
    relation_id,
    v_natts + 1,
    v_key,
    v_image,
    v_key || case when v_image like 'to\_jsonb(%' then '' else ', ' || v_image end,
    v_options));
end $generator$;
