-- Generates the statement-level capture function of a relation, for its inserts: one INSERT … SELECT from the transition table.
-- Where the code does not fit the table any more the generic form does the same. That is found out when expressions are planned, see
-- planned_v1; where other types would not even be understood, by a query that is planned and reads nothing, since an
-- exception block around the INSERT would cost a transaction id a statement. So a row whose image is more than PostgreSQL
-- holds in one value, a gigabyte, fails its INSERT here; a row-level trigger would leave that value out.
-- Called by: install_capture_v1, capture_is_current_v1, for tables in capture mode 'statement'.
create function rowcall.capture_bulk_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_columns text;
  v_key text;
  v_new text;
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  select string_agg(format('new_rows.%I', attname), ', ' order by attnum) into strict v_columns from pg_attribute
    where attrelid = v_relation.oid and attnum > 0 and not attisdropped and attgenerated <> 'v';
  v_key := rowcall.key_expression_v1(v_relation.oid, v_options, 'rowcall_row');
  v_new := rowcall.stored_expression_v1(v_relation.oid, v_options, 'rowcall_row');
  return format($header$create or replace function rowcall.capture_bulk_%s() returns trigger
language plpgsql security definer
%s
as %L$header$,
    relation_id,
    rowcall.settings_clause_v1(v_relation.oid, v_options),
    format($body$
#variable_conflict use_variable
declare
  v_xid constant xid8 := pg_current_xact_id_if_assigned();
  v_at constant timestamptz := clock_timestamp();
  v_actor constant text := nullif(current_setting('rowcall.actor', true), '');
  v_user constant text := session_user;
  v_role constant text := nullif(current_setting('role'), 'none');
  v_application constant text := nullif(current_setting('application_name'), '');
  v_context jsonb;
  v_fits boolean;
begin
  v_fits := %8$s;
%9$s%5$s  -- The doorbell, see bell_v1.
  if not pg_try_advisory_xact_lock_shared(1383036771, 0) then
    perform pg_notify('rowcall', '');
  end if;
  if v_fits then
    insert into rowcall.event (seq, xid, at, relation, operation, key, new, actor, context, db_user, db_role, application_name)
    select nextval('rowcall.event_seq'), v_xid, v_at, %1$s, 'insert', %2$s, %4$s,
      v_actor, v_context, v_user, v_role, v_application
    from (select %7$s from new_rows where %3$s) as rowcall_row;
    if found then
      return null;
    end if;
  end if;
  perform from new_rows limit 1;
  if found then
    -- The same with expressions made for the columns of this moment.
    execute format($statement$
      insert into rowcall.event (seq, xid, at, relation, operation, key, new, actor, context, db_user, db_role, application_name)
      select nextval('rowcall.event_seq'), $1, $2, %1$s, 'insert', rowcall.fallback_key_v1(image, %%s, %%L), image, $3, $4, $5, $6, $7
      from (select %%s as image from new_rows as rowcall_row) as images$statement$,
      tg_relid::oid, %6$L, rowcall.fallback_expression_v1(tg_relid, %6$L, 'rowcall_row'))
      using v_xid, v_at, v_actor, v_context, v_user, v_role, v_application;
  end if;
  return null;
end $body$,
    relation_id,
    v_key,
    rowcall.planned_types_v1(v_relation.oid, 'new_rows'),
    v_new,
    rowcall.context_statement_v1(),
    v_options,
    v_columns,
    rowcall.planned_columns_v1(v_relation.oid),
    -- Values of any type can be taken as they are.
    case when not exists (select from rowcall.losses_v1(v_relation.oid, v_options, 'new', false))
        and (select bool_and(encoding = 'plain' and not redacted) from rowcall.columns_v1(v_relation.oid, v_options)) then ''
      else format($understood$  begin
    if v_fits then
      perform from (select %s from new_rows) as rowcall_row where false and (%s is null or %s is null);
    end if;
  exception when others then
    v_fits := false;
  end;
$understood$, v_columns, v_key, v_new) end));
end $generator$;
