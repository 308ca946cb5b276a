-- The two other ways to treat a TRUNCATE: refuse it, or log every row it takes as a delete.

-- Called by: statement triggers of tables watched with truncate = "forbid".
create function rowcall.forbid_truncate_v1() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = '42501',
    message = format('TRUNCATE of %I.%I is forbidden by its watch', tg_table_schema, tg_table_name),
    schema = tg_table_schema, table = tg_table_name,
    hint = 'Use DELETE, or watch the table with truncate = "event" or "rows".';
end $$;

-- Generates the function that logs a table's rows as deletes. It reads them as rowcall_capture, which is given SELECT for it;
-- where it may not, or row-level security would hide rows from it, one truncate event says which table was emptied.
-- Called by: install_capture_v1.
create function rowcall.capture_rows_definition_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $generator$
declare
  v_relation rowcall.relation;
  v_options jsonb;
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  return format($header$create or replace function rowcall.capture_rows_%s() returns trigger
language plpgsql security definer
%s set row_security = off
as %L$header$,
    relation_id,
    rowcall.settings_clause_v1(v_relation.oid, v_options, every => true),
    format($body$
declare
  v_setting constant text := %1$L;
  -- A transaction has its number before it draws a place, by which a place that is drawn too late is known.
  v_xid constant xid8 := pg_current_xact_id();
  v_first constant bigint := nextval('rowcall.event_seq');
  v_rows bigint;
begin
  perform rowcall.bell_v1();
  -- With expressions made for the columns of this moment: this is rare enough.
  execute format($statement$
    insert into rowcall.event (seq, xid, at, relation, operation, key, old, actor, context, db_user, db_role, application_name)
    select case row_number() over () when 1 then $1 else nextval('rowcall.event_seq') end, $2,
      clock_timestamp(), %2$s, 'delete', rowcall.fallback_key_v1(image, %%s, %%L), image,
      nullif(current_setting('rowcall.actor', true), ''), rowcall.fallback_context_v1(), session_user,
      nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), '')
    from (select %%s as image from only %%s as rowcall_row) as images$statement$,
    tg_relid::oid, %3$L, rowcall.fallback_expression_v1(tg_relid, %3$L, 'rowcall_row'), tg_relid::regclass) using v_first, v_xid;
  get diagnostics v_rows = row_count;
  if v_rows > 0 then
    -- For announce_v1; other partitions that the same statement empties have left theirs.
    perform set_config(v_setting, coalesce(nullif(split_part(current_setting(v_setting, true), ' ', 1), ''), v_first::text)
      || ' ' || currval('rowcall.event_seq'), true);
  end if;
  return null;
exception when others then
  -- Never a failed TRUNCATE because of us: without the rows, but with the name of the table they were in.
  raise warning 'rowcall: the rows of %% could not be logged one by one: %%', tg_relid::regclass, sqlerrm
    using hint = 'Run "rowcall sync": it gives rowcall_capture the right to read them.';
  perform rowcall.log_event_v1(nextval('rowcall.event_seq'), %2$s, 'truncate',
    old => jsonb_build_object('', jsonb_build_object('table', tg_relid::regclass::text)));
  return null;
end $body$,
      'rowcall.range_' || relation_id,
      relation_id,
      v_options));
end $generator$;
