-- The CTEs "emptied" and "balance" of a table without a key: of each image, how often it came less how often it went, by the whole log.
-- Called by: baseline_bag_v1, check_statement_v1.
create function rowcall.balance_v1(relation_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($statement$emptied as materialized (
      select coalesce(max(seq), 0) as seq from rowcall.event where relation = %1$s and operation = 'truncate' and old is null
    ), balance as materialized (
      select key, sum(came) as n, max(seq) as seq
      from (
        select key, seq, case when operation in ('insert', 'snapshot') then 1 else -1 end as came from rowcall.event
        where relation = %1$s and key is not null and seq > (select seq from emptied)
          and (operation <> 'snapshot' or context is null or not context ? 'backfill')
        union all
        select new::jsonb, seq, 1 from rowcall.event
        where relation = %1$s and operation = 'update' and seq > (select seq from emptied)
      ) as facts
      group by key
    )$statement$, relation_id)
$$;

-- The statement that compares a watched table with what its log says of it, row by row: key; what the row is: "missing in the log", "extra in
-- the log", "different", or null; the columns that differ; the last event of its key. Columns that the watch does not record are not
-- compared, redacted ones by their hashes.
-- Run it under the settings by which capture makes images.
-- Called by: rowcall audit check. Cost: the table and its log, each read twice at most, and joined by their keys.
create function rowcall.check_statement_v1(relation_id integer) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_oid oid;
  v_options jsonb;
  v_kind "char";
  v_source text;
  v_image text;
  v_key text;
begin
  select r.oid, w.options, c.relkind into strict v_oid, v_options, v_kind
    from rowcall.relation as r join rowcall.watch as w on w.relation = r.id join pg_class as c on c.oid = r.oid where r.id = relation_id;
  v_source := case v_kind when 'p' then '' else 'only ' end || format('%s', v_oid::regclass);
  v_key := rowcall.key_expression_v1(v_oid, v_options, 'rowcall_row');
  v_image := case v_kind when 'p' then rowcall.image_expression_v1(v_oid, v_options, 'rowcall_row')
    else rowcall.stored_expression_v1(v_oid, v_options, 'rowcall_row') end;
  if not exists (select from rowcall.columns_v1(v_oid, v_options) where key_position is not null) then
    return format($statement$
      with %1$s, present as (select key, count(*) as n from (select %2$s as key from %3$s as rowcall_row) as r group by 1)
      select coalesce(p.key, b.key)::text, case when coalesce(p.n, 0) > coalesce(b.n, 0) then 'missing in the log'
          when coalesce(p.n, 0) < coalesce(b.n, 0) then 'extra in the log' end,
        '{}'::text[], b.seq, (select at from rowcall.event as e where e.seq = b.seq and coalesce(p.n, 0) <> coalesce(b.n, 0))
      from present as p full join balance as b on b.key = p.key
      cross join lateral generate_series(1, greatest(abs(coalesce(p.n, 0) - coalesce(b.n, 0)), 1))$statement$,
      rowcall.balance_v1(relation_id), v_key, v_source);
  end if;
  return format($statement$
    with emptied as materialized (
      select coalesce(max(seq), 0) as seq from rowcall.event where relation = %1$s and operation = 'truncate' and old is null
    ), facts as (
      select key, seq, operation <> 'delete' and nullif(next_key, key) is null as stays from rowcall.event
      where relation = %1$s and key is not null and seq > (select seq from emptied)
        and (operation <> 'snapshot' or context is null or not context ? 'backfill')
      union all
      select next_key, seq, true from rowcall.event
      where relation = %1$s and next_key <> key and seq > (select seq from emptied)
    ), last as (
      select key, max(seq) filter (where stays) as came, max(seq) filter (where not stays) as went from facts group by key
    ), logged as (
      select l.key, greatest(l.came, l.went) as seq, e.at,
        l.came is not null and (l.went is null or l.went < l.came or %5$L and exists (
          select from rowcall.event as w
          where w.seq = l.went and rowcall.old_image_v1(w.old, w.new) is distinct from e.new::jsonb)) as present,
        e.new::jsonb as image
      from last as l left join rowcall.event as e on e.seq = l.came
    ), compared as (
      select coalesce(t.key, l.key) as key, t.image, l.image as logged, t.key is not null as there, coalesce(l.present, false) as present,
        l.seq, l.at
      from (select %2$s as key, (%3$s)::jsonb as image from %4$s as rowcall_row) as t full join logged as l on l.key = t.key
    )
    select key::text,
      case when there and not present then 'missing in the log' when present and not there then 'extra in the log'
        when there and cardinality(d.columns) > 0 then 'different' end,
      coalesce(d.columns, '{}'), seq, case when not there or not present or cardinality(d.columns) > 0 then
        coalesce(at, (select e.at from rowcall.event as e where e.seq = c.seq)) end
    from compared as c
    left join lateral (
      select array_agg(k order by k) as columns
      from jsonb_object_keys(c.image) as k
      where k <> '' and (%6$L::text[] is null or k = any (%6$L::text[]))
        and ((c.image -> k)::text <> coalesce(c.logged -> k, 'null')::text
          or c.image #>> array['', 'exact', k] is distinct from c.logged #>> array['', 'exact', k])
    ) as d on there and present and image::text <> logged::text$statement$,
    relation_id, v_key, v_image, v_source,
    exists (select from pg_index where indrelid = v_oid and indisprimary and not indimmediate),
    case when v_options ? 'columns' then array(
      select name from rowcall.columns_v1(v_oid, v_options) as c
      where c.key_position is not null or rowcall.means_v1(v_oid, v_options, 'columns', c.name,
        (select attnum from pg_attribute where attrelid = v_oid and attname = c.name))) end);
end $$;
