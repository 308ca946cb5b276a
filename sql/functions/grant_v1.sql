-- What a reader and an auditor of the log need, by name, and nothing else. A reader may ask the log: audit log, row, as-of and what else only reads
-- events. An auditor may also read what was refused, verify the seals, and check tables that it may read. What a partition holds is read by
-- the log alone.
-- Called by: grant_v1, rowcall doctor.
create function rowcall.rights_v1(kind text) returns table (privilege text, place text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.privilege, r.place
  from (
    values ('reader', 'select', 'table rowcall.event'),
    ('reader', 'select', 'table rowcall.relation'),
    ('reader', 'select', 'table rowcall.layout'),
    ('reader', 'select', 'table rowcall.layout_mark'),
    ('reader', 'select', 'table rowcall.installation'),
    ('reader', 'select', 'table rowcall.pruned'),
    ('reader', 'select', 'table rowcall.baseline'),
    ('reader', 'select', 'table rowcall.alembic_version'),
    ('reader', 'execute', 'function rowcall.old_image_v1(json, json)'),
    ('auditor', 'select', 'table rowcall.watch'),
    ('auditor', 'select', 'table rowcall.rejection'),
    ('auditor', 'select', 'table rowcall.rejection_tally'),
    ('auditor', 'select', 'table rowcall.cluster'),
    ('auditor', 'select', 'table rowcall.seal'),
    ('auditor', 'select', 'table rowcall.leaf'),
    ('auditor', 'select', 'table rowcall.salt'),
    ('auditor', 'select', 'table rowcall.erasure'),
    ('auditor', 'select', 'table rowcall.erased')
    union all
    -- What audit check writes its statement with, and that calls. None runs with other rights than its caller's.
    select 'auditor', 'execute', format('function %s', p.oid::regprocedure)
    from pg_proc as p
    where p.pronamespace = 'rowcall'::regnamespace and not p.prosecdef and p.proname = any ('{check_statement_v1,balance_v1,
      key_expression_v1,image_expression_v1,stored_expression_v1,value_expression_v1,texts_expression_v1,exact_expression_v1,columns_v1,
      means_v1,encoding_v1,redacted_v1,base_type_v1,element_type_v1,loss_v1,losses_v1,exact_value_v1,with_exact_v1,unheld_v1,texts_v1,
      whole_row_v1}'::text[])
  ) as r (kind, privilege, place)
  where r.kind in ('reader', rights_v1.kind)
    and coalesce(to_regclass(substring(r.place from '^table (.*)'))::oid, to_regprocedure(substring(r.place from '^function (.*)'))::oid)
      is not null
$$;

-- Gives a role these rights, or takes them back. Says how many.
-- Called by: rowcall grant. Runs with the rights of its caller, who owns the log.
create function rowcall.grant_v1(kind text, role text, may boolean) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_form constant text := case when may then 'grant %s on %s to %I' else 'revoke %s on %s from %I' end;
  v_right record;
  v_many bigint := 0;
begin
  -- GRANT takes "public" for everybody, quoted or not.
  if may and not exists (select from pg_roles where rolname = role) then
    raise exception using errcode = 'undefined_object', message = format('role "%s" does not exist', role);
  end if;
  for v_right in select privilege, place from rowcall.rights_v1(kind) loop
    execute format(v_form, v_right.privilege, v_right.place, role);
    v_many := v_many + 1;
  end loop;
  return v_many;
end $$;
