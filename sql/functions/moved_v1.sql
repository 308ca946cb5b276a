-- What before-handlers judged as an update may still change on its way to another partition: there it is an insert, with BEFORE
-- INSERT triggers of its own. A handler that is for inserts too judges it once more; for the others the row that comes
-- out of these triggers is compared with the row they judged, and refused if it is another.
--
-- PostgreSQL does to such a row, one right after the other: BEFORE UPDATE where it was, BEFORE DELETE of the same version of it,
-- BEFORE INSERT where it goes. By that a move is told from what else a statement, say a MERGE, does in between. The memory is one
-- row for each depth of triggers, in a setting of the transaction, which a savepoint takes back with the writes. Whoever sets
-- it himself can have his own writes refused, and between these steps only triggers of the table run.
-- Only rows that a handler was asked about count; gate_N says so.
-- Partitions may have their columns in another order, so these are taken by their names.
-- Runs as the writer, because types may bring code of their own; what it finds is refused by refuse_N, which comes next.
-- Called by: the triggers …rowcall_2_moved_…, after the last handler, and …rowcall_0_moved_…_1_compare, before the first.
-- Cost: 60 µs a question about an update, only of tables that moved_triggers_v1 says.
create function rowcall.moved_v1() returns trigger
language plpgsql
as $$
declare
  v_setting constant pg_catalog.text := pg_catalog.concat('rowcall.moving_', pg_catalog.pg_trigger_depth());
  v_state constant pg_catalog.text := pg_catalog.current_setting(v_setting, true);
  v_row pg_catalog.text;
begin
  if tg_op operator(pg_catalog.=) 'DELETE' then
    perform pg_catalog.set_config(v_setting, case
      when pg_catalog.starts_with(v_state, pg_catalog.format('judged %s %s ', tg_relid, old.ctid))
      then pg_catalog.concat('leaves ', pg_catalog.split_part(v_state, ' ', 4)) else '' end, true);
    return old;
  end if;
  if (case tg_op when 'INSERT' then pg_catalog.starts_with(v_state, 'leaves ') is not true
      else pg_catalog.current_setting('rowcall.judged', true) is distinct from pg_catalog.concat(tg_relid, ' ', old.ctid) end) then
    return new;
  end if;
  select pg_catalog.format('select pg_catalog.md5(row(%s)::pg_catalog.text)',
      pg_catalog.string_agg(pg_catalog.format('($1).%I', a.attname), ', ' order by a.attname)) into v_row
    from pg_catalog.pg_attribute as a
    where a.attrelid operator(pg_catalog.=) tg_relid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
      and a.attgenerated operator(pg_catalog.=) '';
  execute v_row into v_row using new;
  if tg_op operator(pg_catalog.=) 'UPDATE' then
    perform pg_catalog.set_config(v_setting, pg_catalog.format('judged %s %s %s', tg_relid, old.ctid, v_row), true);
  else
    perform pg_catalog.set_config(v_setting, '', true),
      pg_catalog.set_config('rowcall.moved', case when v_state operator(pg_catalog.=) ('leaves ' operator(pg_catalog.||) v_row)
        then '' else 'differs' end, true);
  end if;
  return new;
end $$;

-- The triggers that a relation needs for it: where it has partitions, handlers for updates that are not for inserts, and triggers of
-- others for inserts. The statements hold no expression of a user's.
-- Called by: guard_triggers_v1, place_guards_v1.
create function rowcall.moved_triggers_v1(relation_id integer) returns table (name text, statement text, subject text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select t.name, format('create trigger %I before %s on %s for each row %s', t.name, t.operations, h.table_name, t.action), h.name
  from (
    select n.oid::regclass as table_name, (array_agg(b.name order by b.declared_by, b.position))[1] as name
    from rowcall.before_handler as b
    join rowcall.relation as n on n.id = b.relation
    join pg_class as c on c.oid = n.oid and c.relkind = 'p'
    where b.relation = relation_id and 'update' = any (b.operations) and not 'insert' = any (b.operations)
    group by n.oid
  ) as h
  cross join lateral (
    select string_agg(distinct quote_ident(o.name), ', ') as names from rowcall.others_before_v1(relation_id) as o where o.inserts
  ) as o
  cross join lateral (values
    (format('zz_rowcall_0_moved_%s_1_compare', relation_id), 'insert', 'execute function rowcall.moved_v1()'),
    (format('zz_rowcall_0_moved_%s_2_refuse', relation_id), 'insert', format(
      'when (pg_catalog.current_setting(%L, true) operator(pg_catalog.=) %L) execute function rowcall.refuse_%s(%L, %L, %L, %L)',
      'rowcall.moved', 'differs', relation_id, h.name, 'a trigger changed the row on its way to this partition, after it was judged',
      'handler', format('It was one of these, which fire for inserts: %s. With on=["insert", "update"] the handler judges what comes'
        ' out of them.', o.names))),
    (format('zz_rowcall_2_moved_%s_3_note', relation_id), 'update or delete', 'execute function rowcall.moved_v1()')
  ) as t (name, operations, action)
  where o.names is not null
$$;
