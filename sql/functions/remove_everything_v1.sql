-- Removes every object Rowcall made, but the version table, which Alembic still needs in this transaction: triggers on the
-- user's tables, functions, tables, the gate's server, dblink where we brought it, and the roles unless another database
-- of the cluster uses them. A login of the gate's that somebody else had made stays.
-- Ran by: migration rowcall_0001, downwards.
drop server if exists rowcall_gate cascade;
-- Before all else, as they would make anew what goes.
drop event trigger if exists rowcall_follow_ddl;
drop event trigger if exists rowcall_follow_drop;
do $$
declare
  v_object record;
begin
  perform rowcall.let_gate_login_v1(l, false) from rowcall.gate_logins_v1() as l;
  -- Functions first: their triggers on user tables go with them. What calls others is younger, and goes before them.
  for v_object in
    select format('drop %s if exists %s cascade', case prokind when 'p' then 'procedure' else 'function' end,
      p.oid::regprocedure) as statement
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'rowcall'::regnamespace
      and not exists (select from pg_catalog.pg_depend as d
                      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    order by p.oid desc
  loop
    execute v_object.statement;
  end loop;
  if exists (select from pg_catalog.pg_extension where extname = 'dblink' and extnamespace = 'rowcall'::regnamespace) then
    drop extension dblink;
  end if;
end $$;
do $$
declare
  v_left text;
begin
  -- What an interrupted prune took out of the log and did not drop.
  for v_left in
    select c.oid::regclass::text from pg_catalog.pg_class as c
    where c.relnamespace = 'rowcall'::regnamespace and c.relkind = 'r'
      and (c.relname = 'event_kept' or c.relname in (select partition from rowcall.pruned where dropped_at is null) and not c.relispartition)
  loop
    execute format('drop table %s', v_left);
  end loop;
end $$;
drop materialized view rowcall.cluster;
drop view rowcall.layout_mark, rowcall.live_worker;
drop sequence rowcall.request_id;
drop table rowcall.erased, rowcall.erasure, rowcall.salt, rowcall.leaf, rowcall.seal, rowcall.rejection, rowcall.rejection_tally, rowcall.request, rowcall.backfill, rowcall.baseline, rowcall.pruned, rowcall.skipped, rowcall.parked, rowcall.suspect, rowcall.worker, rowcall.window,
  rowcall.cursor, rowcall.subscription,
  rowcall.secret, rowcall.before_handler, rowcall.rule, rowcall.watch, rowcall.moving, rowcall.event, rowcall.layout, rowcall.relation,
  rowcall.installation;
drop sequence rowcall.event_seq;
drop type rowcall.operation, rowcall.stage;
revoke usage on schema rowcall from public;
do $$
declare
  v_role record;
begin
  for v_role in
    select rolname as name, rolname in ('rowcall_capture', 'rowcall_gate') as ours
    from pg_catalog.pg_roles
    where rolname in ('rowcall_capture', 'rowcall_gate')
      or pg_catalog.shobj_description(oid, 'pg_authid') = 'made by rowcall migrate'
  loop
    begin
      if v_role.ours then
        execute format('drop owned by %I', v_role.name);
      end if;
      execute format('drop role %I', v_role.name);
    exception when dependent_objects_still_exist or insufficient_privilege then
      raise notice 'role % stays: another database of this cluster uses it, or another login made it', v_role.name;
    end;
  end loop;
end $$;
