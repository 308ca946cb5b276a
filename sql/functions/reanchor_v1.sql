-- Anchors the cursors of a restored database in its new cluster, whose transaction ids say nothing about the restored events: what
-- a subscription had not delivered of those becomes a stage, after which it reads from the restore on. True if that was
-- to be done; see tables/cluster_v1.sql for how that is known.
--   A stage that was in progress goes on, and that one follows it. Where another one follows already, since the database was
--   restored twice before a listener came to it, nothing is lost, but events may be delivered again.
--   A backfill that was not complete begins anew, at this moment.
--   Relations get their tables' new OIDs, and their capture is generated anew: types have other OIDs too.
-- Called by: rowcall migrate, rowcall listen. Runs with the caller's rights.
create function rowcall.reanchor_v1() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Before this transaction has an id, which a snapshot leaves out.
  v_now constant pg_snapshot := pg_current_snapshot();
  v_here rowcall.cluster;
  v_was rowcall.installation;
  v_relation record;
begin
  perform pg_advisory_xact_lock(1383036771, 103);
  select * into strict v_here from rowcall.cluster;
  select * into strict v_was from rowcall.installation;
  if v_was.mark = v_here.mark then
    return false;
  end if;
  if v_was.system = v_here.system then
    update rowcall.installation set mark = v_here.mark;
    return false;
  end if;

  update rowcall.cursor as c set
    stage = coalesce(c.stage, 'restored'),
    stage_seq = case when c.stage is null then v_was.floor_seq else c.stage_seq end,
    stage_until = case when c.stage is null then v_here.seq else c.stage_until end,
    restored_seq = case when c.stage is null then 0 when c.restored_until > 0 then c.restored_seq else v_was.floor_seq end,
    restored_until = case when c.stage is null then 0 else v_here.seq end,
    lower = case when c.restored_until > 0 then '1:1:' else c.lower end,
    owner = null, epoch = c.epoch + 1
  from rowcall.subscription as s
  where s.id = c.subscription and s.ready;
  update rowcall.cursor as c set lower = v_now, upper = null, last_seq = 0, owner = null, epoch = c.epoch + 1
  from rowcall.subscription as s
  where s.id = c.subscription and not s.ready;
  delete from rowcall.window;
  delete from rowcall.worker;

  -- By way of numbers that no table has: one's new OID may be another's old one.
  update rowcall.relation set oid = (4294967295 - id)::bigint::oid where dropped_at is null;
  update rowcall.relation as r set oid = c.oid
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where n.nspname = r.schema_name and c.relname = r.table_name and c.relkind in ('r', 'p') and r.dropped_at is null;
  for v_relation in
    select r.id, r.table_name from rowcall.relation as r join pg_class as c on c.oid = r.oid where r.dropped_at is null
  loop
    begin
      perform rowcall.refresh_v1(v_relation.id);
    exception when others then
      raise warning 'rowcall: the capture of % was not generated anew: %', v_relation.table_name, sqlerrm
        using hint = 'Run "rowcall sync" or "rowcall migrate" as the owner of the table.';
    end;
  end loop;
  update rowcall.backfill as b set position = null, read = false, done = false, events = 0, first_seq = null, last_seq = null,
    layout = (select max(since) from rowcall.layout where relation = b.relation)
  from rowcall.subscription as s
  where s.id = b.subscription and not s.ready;

  update rowcall.installation
    set mark = v_here.mark, system = v_here.system, epoch = epoch + 1, floor_seq = v_here.seq, anchor = v_here.snapshot;
  return true;
end $$;
