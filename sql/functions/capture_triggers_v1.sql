-- The triggers that capture a relation, as it and its partitions are now: name, table and the statement that makes each.
-- Named to fire first ("00_…"), so a change that another AFTER trigger makes follows the change that caused it.
-- Row triggers of a partitioned table are cloned to its partitions by PostgreSQL; statement triggers are not, and fire only
-- for the table a statement names, so each partition gets its own.
-- Called by: install_capture_v1, capture_is_current_v1.
create function rowcall.capture_triggers_v1(relation_id integer)
returns table (name text, table_oid oid, statement text)
language sql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
  with watched as (
    select r.id, r.oid, r.schema_name, r.table_name, w.options, rowcall.capture_mode_v1(r.oid, w.options) as mode,
      c.relkind = 'p' as partitioned
    from rowcall.relation as r join rowcall.watch as w on w.relation = r.id join pg_class as c on c.oid = r.oid
    where r.id = relation_id
  ), tables as (
    select oid from watched
    union
    select t.relid from watched cross join lateral pg_partition_tree(watched.oid) as t
  ), wanted as (
    select '00_rowcall_' || operation as name, oid as table_oid, 'after ' || operation as timing,
      case when mode = 'statement' and operation = 'insert' then
        format('referencing new table as new_rows for each statement execute function rowcall.capture_bulk_%s()', id)
      else
        format('for each row %s execute function rowcall.capture_%s()', rowcall.capture_when_v1(oid, options, operation), id)
      end as action
    from watched
    cross join (values ('insert'), ('update'), ('delete')) as o (operation)
    where coalesce(options -> 'operations' ? operation, true)
    union all
    select '00_rowcall_truncate', oid, 'after truncate',
      format('for each statement execute function rowcall.capture_truncate_v1(%L)', id)
    from watched
    where coalesce(options ->> 'truncate', 'event') = 'event' and coalesce(options -> 'operations' ? 'truncate', true)
    union all
    -- What is forbidden is so whichever operations are recorded.
    -- A partition's TRUNCATE cannot be one event, which would not say which rows went: its rows are logged.
    select '00_rowcall_truncate', tables.oid, 'before truncate',
      format('for each statement execute function rowcall.%s', case when options ->> 'truncate' = 'forbid'
        then 'forbid_truncate_v1()' else format('capture_rows_%s()', id) end)
    from watched cross join tables
    where (options ->> 'truncate' = 'forbid'
        or coalesce(options -> 'operations' ? 'truncate', true)
          and (options ->> 'truncate' = 'rows' or tables.oid <> watched.oid))
      and (select relkind from pg_class where oid = tables.oid) = 'r'
    union all
    select '00_rowcall_enter', tables.oid, 'before insert or update or delete',
      'for each statement execute function rowcall.enter_statement_v1()'
    from watched cross join tables where partitioned
    union all
    select '00_rowcall_leave', tables.oid, 'after insert or update or delete',
      format('for each statement execute function rowcall.leave_statement_v1(%L)', id)
    from watched cross join tables where partitioned
    union all
    select '01_rowcall_announce', tables.oid, 'after insert or update or delete or truncate',
      format('for each statement execute function rowcall.announce_v1(%L, %L, %L)',
        ('rowcall_' || table_name)::name, schema_name || '.' || table_name, id)
    from watched cross join tables
    where coalesce((options ->> 'notify')::boolean, false)
  )
  select name, table_oid, format('create or replace trigger %I %s on %s %s', name, timing, table_oid::regclass, action)
  from wanted
$$;
