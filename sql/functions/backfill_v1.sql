-- Filling a new subscription with the rows that are there: one snapshot event for each row as it was at the moment the
-- subscription begins (S, its cursor's "lower"), while writers go on: no lock on rows, no long transaction.
--   Chunks of the table, in the order of its key, take the rows that no event after S speaks of: they are as they were at S.
--   The end takes those that events after S speak of, by what never changes: of each state of a row, how many were there at S is
--   how many are there now, less those that came since, plus those that went. So it does not matter how often a row changed,
--   where it moved, or who swapped keys with whom. Events after S that a chunk did not see are seen at the end.
-- What a watch does not record (by its when, operations or columns) leaves no event: such a change after S may show in a row, but no
-- key is given twice.

-- The CTE "after": what happened to a relation since a snapshot. The index on xid leads there. Where all of a row is its key, an
-- update does not say the next one.
-- Called by: chunk_statement_v1, rest_statement_v1.
create function rowcall.events_after_v1(relation_id integer, start pg_snapshot, keyed boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('after as materialized (
    select seq, operation, key, %s as next_key, old, new from rowcall.event
    where (xid >= %L or xid = any (%L)) and relation = %s and seq > %s and operation <> ''snapshot'')',
    case when keyed then 'next_key' else 'case when operation = ''update'' then new::jsonb end' end,
    pg_snapshot_xmax(start), array(select pg_snapshot_xip(start)), relation_id, floor_seq)
  from rowcall.installation
$$;

-- What may end a backfill early, each with its cure; how to read the table, otherwise.
-- The lock keeps DDL away to the end of this transaction: expressions that are made for these columns must not meet others.
-- Called by: backfill_chunk_v1.
create function rowcall.check_backfill_v1(backfill rowcall.backfill, out table_oid oid, out source text, out options jsonb,
  out keyed boolean, out image text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_was text[];
  v_is text[];
  v_layout bigint;
  v_kind "char";
begin
  select format('%I.%I', r.schema_name, r.table_name), r.oid, w.options into v_name, table_oid, options
    from rowcall.relation as r left join rowcall.watch as w on w.relation = r.id
    where r.id = (backfill).relation;
  if options is null or not exists (select from pg_class where oid = table_oid) then
    raise exception using errcode = 'P0001', message = format('%s is not watched any more', v_name);
  end if;
  execute format('lock table %s in access share mode', table_oid::regclass);
  select key into strict v_was from rowcall.layout as l where l.relation = (backfill).relation and l.since = (backfill).layout;
  select key, since into strict v_is, v_layout from rowcall.layout as l where l.relation = (backfill).relation
    order by since desc limit 1;
  keyed := cardinality(v_is) > 0;
  if v_was <> v_is or not keyed and v_layout <> (backfill).layout then
    raise exception using errcode = 'P0001', message = format('the key of %s changed meanwhile', v_name);
  end if;
  select relkind into strict v_kind from pg_class where oid = table_oid;
  source := case v_kind when 'p' then '' else 'only ' end || table_oid::regclass;
  image := case v_kind when 'p' then rowcall.image_expression_v1(table_oid, options, 'rowcall_row')
    else rowcall.stored_expression_v1(table_oid, options, 'rowcall_row') end;
end $$;

-- The statement that logs the next rows of a table as snapshot events, those that nothing happened to. A table without a key is
-- one chunk.
-- Called by: backfill_chunk_v1, with what check_backfill_v1 says.
create function rowcall.chunk_statement_v1(backfill rowcall.backfill, start pg_snapshot, table_oid oid, source text,
  options jsonb, keyed boolean, image text, many integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($statement$
    with %1$s, %2$s chunk as materialized (
      select row_number() over () as n, %3$s as key, %4$s as new
      from (select * from %5$s as rowcall_row %6$s) as rowcall_row
    ), spoken_of as materialized (
      select key from after union select next_key from after
    ), written as (
      insert into rowcall.event (seq, xid, at, relation, operation, key, new, context, db_user, db_role, application_name)
      select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), %7$s, 'snapshot', c.key, c.new::json, %8$L,
        session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), '')
      from chunk as c
      where not exists (select from spoken_of as s where s.key = c.key)
      returning seq
    )
    select (select count(*) from chunk) as rows, (select key from chunk order by n desc limit 1) as key,
      (select count(*) from written) as events, (select min(seq) from written) as first_seq,
      (select max(seq) from written) as last_seq,
      exists (select from after where operation = 'truncate') as emptied, %9$s as misread$statement$,
    rowcall.events_after_v1((backfill).relation, start, keyed),
    rowcall.place_v1(table_oid, (backfill).position),
    rowcall.key_expression_v1(table_oid, options, 'rowcall_row'),
    image,
    source,
    rowcall.next_rows_v1(table_oid, options, (backfill).position, many),
    (backfill).relation,
    jsonb_build_object('backfill', (backfill).subscription),
    rowcall.misread_v1(table_oid, options, (backfill).position))
$$;

-- The statement that logs the rows that something happened to since the beginning, as they were then.
-- Of a table with a key, a key that a chunk gave is not given again, and of the states that were there the first counts: so it is
-- right as well where columns were added meanwhile, or the watch does not record everything. Of one without, rows are told apart
-- by all they hold, and counted.
-- Called by: as chunk_statement_v1.
create function rowcall.rest_statement_v1(backfill rowcall.backfill, start pg_snapshot, table_oid oid, source text,
  options jsonb, keyed boolean, image text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($statement$
    with %1$s, keys as materialized (
      select key from after where key is not null union select next_key from after where next_key is not null
    ), states as (
      select key, rowcall.old_image_v1(old, new)::text as image, 1 as n, seq from after where operation in ('update', 'delete')
      union all
      select coalesce(next_key, key), new::jsonb::text, -1, null from after where operation in ('insert', 'update')
      union all
      select r.key, r.image, 1, null from (%2$s) as r
    ), given as materialized (
      select e.key, e.new::jsonb::text as image, count(*) as n
      from rowcall.event as e join keys as k on k.key = e.key
      where e.seq between %3$L and %4$L and e.relation = %5$s and e.operation = 'snapshot' and e.context = %6$L
      group by 1, 2
    ), counted as materialized (
      select key, image, sum(n) as n, min(seq) as seq from states group by key, image
    ), missing as (
      %7$s
    ), written as (
      insert into rowcall.event (seq, xid, at, relation, operation, key, new, context, db_user, db_role, application_name)
      select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), %5$s, 'snapshot', m.key, m.image::json, %6$L,
        session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), '')
      from missing as m
      returning seq
    )
    select (select count(*) from written) as rows, null::jsonb as key, (select count(*) from written) as events,
      (select min(seq) from written) as first_seq, (select max(seq) from written) as last_seq,
      exists (select from after where operation = 'truncate') as emptied, false as misread$statement$,
    rowcall.events_after_v1((backfill).relation, start, keyed),
    case when keyed then
      format('select k.key, (%s)::jsonb::text as image
        from keys as k
        cross join lateral %s as place
        join %s as rowcall_row on %s
        where %s = k.key',
        image, rowcall.key_row_v1(table_oid, 'k.key'), source, rowcall.same_key_v1(table_oid, options, 'rowcall_row', 'place'),
        rowcall.key_expression_v1(table_oid, options, 'rowcall_row'))
    else
      format('select a.key, a.image from (select %s as key, (%s)::jsonb::text as image from %s as rowcall_row) as a
        where a.key in (select key from keys)',
        rowcall.key_expression_v1(table_oid, options, 'rowcall_row'), image, source)
    end,
    (backfill).first_seq, (backfill).last_seq, (backfill).relation, jsonb_build_object('backfill', (backfill).subscription),
    case when keyed then
      'select distinct on (c.key) c.key, c.image from counted as c
       where c.n > 0 and not exists (select from given as g where g.key = c.key)
         and c.key in (select s.key from counted as s group by s.key having sum(s.n) > 0)
       order by c.key, c.seq nulls last'
    else
      'select c.key, c.image from counted as c left join given as g on g.key = c.key and g.image = c.image
       cross join lateral generate_series(1, (c.n - coalesce(g.n, 0))::bigint)'
    end)
$$;

-- Takes the next step of a backfill: logs the next rows of a table, or where "many" is null, once all were looked at, those that
-- something happened to meanwhile, which ends it. Says how many rows it looked at, or of the end, logged.
-- In a transaction of its own, which also holds how far it came.
-- Called by: rowcall sync and rowcall listen, again and again, see queries/backfill.sql. Runs with the caller's rights: whoever may
-- read the table, all of it, and append to the log. Cost: the rows, and a look at every event since the beginning; at the end also
-- a look into the table for each of these.
create function rowcall.backfill_chunk_v1(subscription_id integer, relation_id integer, many integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_backfill rowcall.backfill;
  v_start pg_snapshot;
  v_table record;
  v_done record;
begin
  perform rowcall.chunk_settings_v1();
  -- Two at once take turns.
  select * into strict v_backfill from rowcall.backfill as b
    where b.subscription = subscription_id and b.relation = relation_id for update;
  if v_backfill.done or v_backfill.read = (many is not null) then
    return 0;
  end if;
  select c.lower into strict v_start from rowcall.cursor as c where c.subscription = subscription_id;
  v_table := rowcall.check_backfill_v1(v_backfill);
  execute case when many is null
    then rowcall.rest_statement_v1(v_backfill, v_start, v_table.table_oid, v_table.source, v_table.options, v_table.keyed, v_table.image)
    else rowcall.chunk_statement_v1(v_backfill, v_start, v_table.table_oid, v_table.source, v_table.options, v_table.keyed,
      v_table.image, many) end
    into strict v_done;
  if v_done.emptied then
    raise exception using errcode = 'P0001',
      message = format('%s was truncated meanwhile, and its watch does not record which rows that took', v_table.table_oid::regclass);
  end if;
  if v_done.misread then
    raise exception using errcode = 'P0001',
      message = format('a key of %s cannot be told from null: %s', v_table.table_oid::regclass, v_backfill.position);
  end if;
  update rowcall.backfill as b
    set position = coalesce(v_done.key, b.position), read = b.read or not v_table.keyed or v_done.rows < many, done = many is null,
      events = b.events + v_done.events, first_seq = coalesce(b.first_seq, v_done.first_seq),
      last_seq = coalesce(v_done.last_seq, b.last_seq)
    where b.subscription = subscription_id and b.relation = relation_id;
  return v_done.rows;
end $$;
