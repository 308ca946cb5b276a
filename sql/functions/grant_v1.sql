-- What a reader and an auditor of the log need, by name, and nothing else. A reader may ask the log: audit log, row, as-of and what else only reads
-- events. An auditor may also read what was refused, and check the seals. What a partition holds is read by the log alone.
-- Called by: grant_v1, rowcall doctor.
create function rowcall.rights_v1(kind text) returns table (privilege text, place text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.privilege, r.place
  from (values
    ('reader', 'select', 'table rowcall.event'),
    ('reader', 'select', 'table rowcall.relation'),
    ('reader', 'select', 'table rowcall.layout'),
    ('reader', 'select', 'table rowcall.layout_mark'),
    ('reader', 'select', 'table rowcall.installation'),
    ('reader', 'select', 'table rowcall.pruned'),
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
  for v_right in select privilege, place from rowcall.rights_v1(kind) loop
    execute format(v_form, v_right.privilege, v_right.place, role);
    v_many := v_many + 1;
  end loop;
  return v_many;
end $$;
