-- A baseline: the rows that are there, as snapshot events in their true place in the log, while writers go on.
-- A row's event is written while the row is locked, so that what happened to it before has a smaller seq, and what happens later a
-- larger one. Where an event since the beginning speaks of a row, that says how it is, and no other is needed. Rows that a writer
-- holds are not waited for, but left for later, so nobody waits for more than one chunk.
-- A backfill needs no place in the log for its events, as it is read before everything else; so it locks no rows.

-- Begins the baseline of a watched table; goes on with one that was left. One that is complete is begun again only if asked.
-- Called by: rowcall watch --baseline, rowcall sync.
create function rowcall.begin_baseline_v1(relation_id integer, again boolean) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcall.baseline as b (relation, since, layout)
  select relation_id, nextval('rowcall.event_seq'), max(l.since) from rowcall.layout as l where l.relation = relation_id
  on conflict (relation) do update
    set since = excluded.since, layout = excluded.layout, position = null, read = false, left_out = '{}', done = false, events = 0,
      begun_at = clock_timestamp(), ended_seq = null, ended_xid = null, ended_at = null
    where b.done and again or not b.done and b.layout <> excluded.layout
$$;

-- Notes where and when a baseline was done, once it is.
-- Called by: baseline_chunk_v1, baseline_bag_v1.
create function rowcall.end_baseline_v1(relation_id integer) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowcall.baseline
  set ended_seq = nextval('rowcall.event_seq'), ended_xid = pg_current_xact_id(), ended_at = clock_timestamp()
  where relation = relation_id and done and ended_at is null
$$;

-- The CTE "spoken_of": the rows of which events since a place in the log say how they are.
-- Called by: baseline_chunk_v1, baseline_rows_v1.
create function rowcall.spoken_of_v1(baseline rowcall.baseline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('spoken_of as materialized (
    select coalesce(next_key, key) as key from rowcall.event
    where seq > %s and relation = %s and operation in (''insert'', ''update''))', (baseline).since, (baseline).relation)
$$;

-- Logs the rows of these keys as they are now, but those that somebody wrote since the beginning, who said so, or holds. Says how many,
-- and which keys it has to be asked for again.
-- Called by: baseline_chunk_v1.
create function rowcall.baseline_rows_v1(baseline rowcall.baseline, keys jsonb[], out events bigint, out left_out jsonb[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_keys jsonb[];
  v_images text[];
begin
  v_table := rowcall.check_backfill_v1(
    (0, (baseline).relation, (baseline).layout, null, false, false, 0, null, null)::rowcall.backfill);
  execute format($statement$
    with locked as materialized (
      select rowcall_row
      from unnest($1) as k (key)
      cross join lateral %1$s as place
      join %2$s as rowcall_row on %3$s
      for share of rowcall_row skip locked
    )
    select array_agg(%4$s), array_agg((%5$s)::text) from (select (rowcall_row).* from locked) as rowcall_row$statement$,
      rowcall.key_row_v1(v_table.table_oid, 'k.key'), v_table.source,
      rowcall.same_key_v1(v_table.table_oid, v_table.options, 'rowcall_row', 'place'),
      rowcall.key_expression_v1(v_table.table_oid, v_table.options, 'rowcall_row'), v_table.image)
    into v_keys, v_images using keys;
  -- Another snapshot: whoever wrote the rows that are locked now has committed, and its events are seen.
  execute format($statement$
    with %1$s, written as (
      insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user, db_role, application_name)
      select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), %2$s, 'snapshot', c.key, c.image::json,
        session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), '')
      from unnest($1, $2) as c (key, image)
      where not exists (select from spoken_of as s where s.key = c.key)
      returning key
    )
    select (select count(*) from written),
      (select array_agg(k.key) from unnest($3) as k (key)
       where not exists (select from spoken_of as s where s.key = k.key)
         and not exists (select from written as w where w.key = k.key))$statement$,
    rowcall.spoken_of_v1(baseline), (baseline).relation)
    into events, left_out using v_keys, v_images, keys;
end $$;

-- Of the next rows of a table, logs those that are still as they were at the beginning; at its end, those that were left out. Says how
-- many rows it looked at.
-- Called by: rowcall watch --baseline, rowcall sync, again and again, see queries/baseline.sql; in a transaction of its own, at READ
-- COMMITTED: each statement has to see what was committed before it. Runs with the caller's rights: whoever may lock rows of the table, and
-- append to the log. Cost: the rows, and a look at every event since the beginning.
create function rowcall.baseline_chunk_v1(relation_id integer, many integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_baseline rowcall.baseline;
  v_table record;
  v_chunk record;
  v_rows record;
begin
  perform rowcall.chunk_settings_v1();
  -- Two at once take turns.
  select * into strict v_baseline from rowcall.baseline as b where b.relation = relation_id for update;
  if v_baseline.done then
    return 0;
  end if;
  v_table := rowcall.check_backfill_v1((0, relation_id, v_baseline.layout, null, false, false, 0, null, null)::rowcall.backfill);
  if not v_table.keyed then
    return rowcall.baseline_bag_v1(v_baseline, v_table.source, v_table.image,
      rowcall.key_expression_v1(v_table.table_oid, v_table.options, 'rowcall_row'));
  end if;
  if v_baseline.read then
    v_rows := rowcall.baseline_rows_v1(v_baseline, v_baseline.left_out);
    update rowcall.baseline as b
      set events = b.events + v_rows.events, left_out = coalesce(v_rows.left_out, '{}'), done = v_rows.left_out is null
      where b.relation = relation_id;
    perform rowcall.end_baseline_v1(relation_id);
    return 0;
  end if;
  execute format($statement$
    with %1$s, %2$s chunk as materialized (
      select row_number() over () as n, %3$s as key from (select * from %4$s as rowcall_row %5$s) as rowcall_row
    )
    select (select count(*) from chunk) as rows, (select key from chunk order by n desc limit 1) as key,
      (select array_agg(key order by n) from chunk as c where not exists (select from spoken_of as s where s.key = c.key)) as keys,
      %6$s as misread$statement$,
    rowcall.spoken_of_v1(v_baseline),
    rowcall.place_v1(v_table.table_oid, v_baseline.position),
    rowcall.key_expression_v1(v_table.table_oid, v_table.options, 'rowcall_row'),
    v_table.source,
    rowcall.next_rows_v1(v_table.table_oid, v_table.options, v_baseline.position, many),
    rowcall.misread_v1(v_table.table_oid, v_table.options, v_baseline.position))
    into strict v_chunk;
  if v_chunk.misread then
    raise exception using errcode = 'P0001',
      message = format('a key of %s cannot be told from null: %s', v_table.table_oid::regclass, v_baseline.position);
  end if;
  v_rows := rowcall.baseline_rows_v1(v_baseline, coalesce(v_chunk.keys, '{}'));
  update rowcall.baseline as b
    set position = coalesce(v_chunk.key, b.position), read = v_chunk.rows < many, events = b.events + v_rows.events,
      left_out = b.left_out || coalesce(v_rows.left_out, '{}'),
      done = v_chunk.rows < many and cardinality(b.left_out || coalesce(v_rows.left_out, '{}')) = 0
    where b.relation = relation_id;
  perform rowcall.end_baseline_v1(relation_id);
  return v_chunk.rows;
end $$;

-- Logs the rows of a table without a key that the log does not know: of each, as many as there are more than came and did not go. Of one
-- that was there at the beginning and has gone, fewer than none: that is told too, or the log would owe a row for ever.
-- Writers wait meanwhile, as nothing tells a row from its like; this waits for them only a moment: it fails, and is called again.
-- Called by: baseline_chunk_v1.
create function rowcall.baseline_bag_v1(baseline rowcall.baseline, source text, image text, key text) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
  v_events bigint;
begin
  execute format('lock table %s in share mode', source);
  execute format($statement$
    with %1$s, present as (
      select rowcall_key as key, min(rowcall_image) as image, count(*) as n
      from (select %2$s as rowcall_key, (%3$s)::text as rowcall_image from %4$s as rowcall_row) as r group by 1
    )
    insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user, db_role, application_name)
    select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), %5$s, 'snapshot', coalesce(p.key, b.key),
      coalesce(p.image, b.key::text)::json, session_user, nullif(current_setting('role'), 'none'),
      nullif(current_setting('application_name'), '')
    from present as p full join balance as b on b.key = p.key
    cross join lateral generate_series(1, coalesce(p.n, 0) - coalesce(b.n, 0))$statement$,
    rowcall.balance_v1((baseline).relation), key, image, source, (baseline).relation);
  get diagnostics v_events = row_count;
  update rowcall.baseline as b set read = true, done = true, events = v_events where b.relation = (baseline).relation;
  perform rowcall.end_baseline_v1((baseline).relation);
  return v_events;
end $$;
