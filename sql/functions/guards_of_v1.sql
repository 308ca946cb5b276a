-- All rules and before-handlers of a relation as one value, to tell whether a declaration changes anything.
-- Called by: guard_v1.
create function rowcall.guards_of_v1(relation_id integer) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_array(
    (select jsonb_agg(to_jsonb(r) order by r.name) from rowcall.rule as r where r.relation = relation_id),
    (select jsonb_agg(to_jsonb(h) order by h.declared_by, h.position) from rowcall.before_handler as h
     where h.relation = relation_id))
$$;
