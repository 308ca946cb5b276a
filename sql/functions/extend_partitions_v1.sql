-- The partition of the log that reaches to the end of time, and where it begins.
-- Called by: extend_partitions_v1.
create function rowcall.last_partition_v1() returns table (name regclass, lower timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select c.oid::regclass, substring(pg_get_expr(c.relpartbound, c.oid) from $bound$FROM \('([^']+)'\)$bound$)::timestamptz
  from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
  where i.inhparent = 'rowcall.event'::regclass and pg_get_expr(c.relpartbound, c.oid) ~ 'TO \(MAXVALUE\)$'
$$;

-- Makes the log's partitions ahead: the last one, which reaches to the end of time, ends with the month of its newest event, and
-- the months after that get partitions of their own, until four lie ahead: more would cost every reader, who opens all of them
-- with their indexes at each read of the log's end, some 30 µs each. Says how many it made.
-- Does nothing while three months lie ahead. Writers wait meanwhile: where the last partition is empty that is nothing, else its
-- events are read twice. Does not wait long for them, as whoever waits for this lock is waited for by every writer: fails, and
-- is called again.
-- Called by: rowcall migrate, the listener every hour, an administrator whom rowcall doctor sends here.
create function rowcall.extend_partitions_v1() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '200ms'
as $$
declare
  v_enough constant timestamptz := date_trunc('month', now()) + interval '4 months';
  v_last regclass;
  v_lower timestamptz;
  v_month timestamptz;
  v_made integer := 0;
begin
  if exists (
    select from rowcall.last_partition_v1() where lower >= date_trunc('month', now()) + interval '3 months')
  then
    return 0;
  end if;
  lock table only rowcall.event in access exclusive mode;
  select name, lower into strict v_last, v_lower from rowcall.last_partition_v1();
  if v_lower >= v_enough then
    return 0;
  end if;
  select date_trunc('month', coalesce(max(at), v_lower)) + interval '1 month' into v_month
    from rowcall.event where at >= v_lower;
  execute format('alter table rowcall.event detach partition %s', v_last);
  execute format('alter table rowcall.event attach partition %s for values from (%L) to (%L)', v_last, v_lower, v_month);
  while v_month < v_enough loop
    perform rowcall.create_partition_v1(v_month::text, (v_month + interval '1 month')::text);
    v_month := v_month + interval '1 month';
    v_made := v_made + 1;
  end loop;
  perform rowcall.create_partition_v1(v_month::text, 'maxvalue');
  return v_made + 1;
end $$;
