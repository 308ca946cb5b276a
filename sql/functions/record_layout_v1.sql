-- Notes the layout of a relation from here on, if it differs from the last one noted.
-- Called by: install_capture_v1, install_guard_v1.
create function rowcall.record_layout_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns jsonb;
  v_key text[];
begin
  select jsonb_agg(jsonb_build_object('name', name, 'type', type, 'encoding', encoding, 'redacted', redacted)
      || case when erasable then '{"erasable": true}' else '{}' end::jsonb),
    coalesce(array_agg(name order by key_position) filter (where key_position is not null), '{}')
    into v_columns, v_key
    from rowcall.relation as r
    left join rowcall.watch as w on w.relation = r.id
    cross join lateral rowcall.columns_v1(r.oid, coalesce(w.options, '{}'))
    where r.id = relation_id;
  insert into rowcall.layout (relation, since, columns, key)
  select relation_id, nextval('rowcall.event_seq'), coalesce(v_columns, '[]'), v_key
  where (v_columns, v_key) is distinct from (
    select (columns, key) from rowcall.layout where relation = relation_id order by since desc limit 1);
end $$;
