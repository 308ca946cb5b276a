-- The partitions of the log, in their order: null is the beginning or the end of time.
--   state  "attached", "detaching" after an interrupted DETACH, "detached" where only rowcall.pruned knows of it
-- Called by: rowcall prune.
create function rowcall.log_partitions_v1() returns table (name text, lower timestamptz, upper timestamptz, state text)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select c.relname::text, substring(b.bounds from $bound$FROM \('([^']+)'\)$bound$)::timestamptz,
    substring(b.bounds from $bound$TO \('([^']+)'\)$bound$)::timestamptz,
    case when i.inhdetachpending then 'detaching' else 'attached' end
  from pg_inherits as i
  join pg_class as c on c.oid = i.inhrelid
  cross join lateral (select pg_get_expr(c.relpartbound, c.oid)) as b (bounds)
  where i.inhparent = 'rowcall.event'::regclass
  union all
  select p.partition, p.lower, p.upper, 'detached'
  from rowcall.pruned as p
  join pg_class as c on c.relnamespace = 'rowcall'::regnamespace and c.relname = p.partition
  where p.dropped_at is null and not exists (select from pg_inherits as i where i.inhrelid = c.oid)
  order by 3 nulls last
$$;

-- Makes rowcall.event_kept, the log's next first partition: of all that these tables hold, the last event of each row that was
-- there at their end, as it is, so that the log still answers how a row was after that. Of a table without a key nothing tells rows
-- apart, so of each as many as there were; and as many that went as the log does not know to have come, which a baseline has counted.
-- An update that did half of that has a stand-in in its place: a snapshot of what came, or a delete of what went. Says how many there are.
-- Called by: rowcall prune, before it takes the tables out. Cost: reads them twice.
create function rowcall.keep_rows_v1(tables text[]) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns text;
  v_source text;
  v_keyed bigint;
  v_bags bigint;
begin
  drop table if exists rowcall.event_kept;
  create table rowcall.event_kept (like rowcall.event including all);
  select string_agg(quote_ident(attname), ', ' order by attnum) into v_columns
    from pg_attribute where attrelid = 'rowcall.event'::regclass and attnum > 0 and not attisdropped;
  select string_agg(format('select %s from rowcall.%I', v_columns, name), ' union all ') into v_source from unnest(tables) as name;
  execute format($statement$
    create temporary view rowcall_leaving as
    select e.*, t.keyed, t.deferrable
    from (%s) as e
    join (
      select r.id, cardinality(l.key) > 0 as keyed,
        exists (select from pg_index as i where i.indrelid = r.oid and i.indisprimary and not i.indimmediate) as deferrable
      from rowcall.relation as r
      cross join lateral (select key from rowcall.layout as l where l.relation = r.id order by since desc limit 1) as l
      where r.dropped_at is null
    ) as t on t.id = e.relation
    left join (
      select relation, max(seq) as seq from (%1$s) as e where operation = 'truncate' and old is null group by relation
    ) as emptied on emptied.relation = e.relation
    where e.seq > coalesce(emptied.seq, 0)
      and e.key is not null and (e.operation <> 'snapshot' or e.context is null or not e.context ? 'backfill')$statement$, v_source);
  execute format($statement$
    with facts as (
      select relation, key, seq, operation <> 'delete' and next_key is null as stays from pg_temp.rowcall_leaving where keyed
      union all
      select relation, next_key, seq, true from pg_temp.rowcall_leaving where keyed and next_key is not null
    ), last as (
      select max(seq) filter (where stays) as came, max(seq) filter (where not stays) as went from facts group by relation, key
    )
    insert into rowcall.event_kept (%1$s)
    select %1$s from (
      select e.*
      from last as l join pg_temp.rowcall_leaving as e on e.seq = l.came
      where l.went is null or l.went < l.came or e.deferrable and exists (
        select from pg_temp.rowcall_leaving as w
        where w.seq = l.went and rowcall.old_image_v1(w.old, w.new) is distinct from e.new::jsonb)
    ) as e$statement$, v_columns);
  get diagnostics v_keyed = row_count;
  execute format($statement$
    with facts as (
      select e.relation, e.seq, c.image, c.came
      from pg_temp.rowcall_leaving as e
      cross join lateral (
        select e.key, case when e.operation in ('insert', 'snapshot') then 1 else -1 end
        union all
        select e.new::jsonb, 1 where e.operation = 'update'
      ) as c (image, came)
      where not e.keyed
    ), counted as (
      select seq, came, sum(came) over (partition by relation, image) as n,
        row_number() over (partition by relation, image, came order by seq desc) as place
      from facts
    ), chosen as (
      select seq, bool_or(came = 1) as comes, bool_or(came = -1) as goes
      from counted where sign(n) = came and place <= abs(n) group by seq
    ), whole as (
      insert into rowcall.event_kept (%1$s)
      select %1$s from (
        select e.* from chosen as c join pg_temp.rowcall_leaving as e on e.seq = c.seq
        where e.operation <> 'update' or c.comes and c.goes
      ) as e
      returning 1
    ), stand_ins as (
      insert into rowcall.event_kept (seq, xid, at, relation, operation, key, old, new, actor, context, db_user, db_role, application_name)
      select e.seq, e.xid, e.at, e.relation, (case when c.comes then 'snapshot' else 'delete' end)::rowcall.operation,
        case when c.comes then e.new::jsonb else e.key end, case when c.goes then e.key::text::json end,
        case when c.comes then e.new::jsonb::text::json end, e.actor, e.context, e.db_user, e.db_role, e.application_name
      from chosen as c join pg_temp.rowcall_leaving as e on e.seq = c.seq
      where e.operation = 'update' and c.comes <> c.goes
      returning 1
    )
    select (select count(*) from whole) + (select count(*) from stand_ins)$statement$, v_columns) into v_bags;
  drop view pg_temp.rowcall_leaving;
  return v_keyed + v_bags;
end $$;

-- Puts what is kept in the place of the tables that were taken out, and drops them: all at once. Refuses where one of them has another
-- number of events than was archived: a transaction that began long ago has committed since.
-- Waits for no lock longer than a moment: it fails, and is called again. No writer waits for it.
-- Called by: rowcall prune, in the transaction that records it for the seals, see src/rowcall/audit/erasures.py.
create function rowcall.finish_prune_v1(upper timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_pruned rowcall.pruned;
  v_events bigint;
  v_xid xid8;
begin
  for v_pruned in select * from rowcall.pruned where dropped_at is null order by id loop
    execute format('select count(*) from rowcall.%I', v_pruned.partition) into v_events;
    if v_events <> v_pruned.events then
      return false;
    end if;
    -- Not max(xid), which PostgreSQL 15 does not have.
    execute format('select xid from rowcall.%I order by xid desc limit 1', v_pruned.partition) into v_xid;
    update rowcall.pruned set last_xid = v_xid where id = v_pruned.id;
  end loop;
  for v_pruned in select * from rowcall.pruned where dropped_at is null order by id loop
    execute format('drop table rowcall.%I', v_pruned.partition);
  end loop;
  alter table rowcall.event_kept rename to event_first;
  execute format('alter table rowcall.event attach partition rowcall.event_first for values from (minvalue) to (%L)', upper);
  create trigger append_only_truncate before truncate on rowcall.event_first
    for each statement execute function rowcall.refuse_alteration_v1();
  update rowcall.pruned set dropped_at = clock_timestamp() where dropped_at is null;
  return true;
end $$;
