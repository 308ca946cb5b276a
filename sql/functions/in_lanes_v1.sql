-- Whether an event concerns one of some lanes: by its row's key before the change or after it, or as it has none, being a truncate.
-- All lanes are null.
-- Called by: the reader of the log. Cost: inlined, so without a search_path of its own, up to two hashes of keys.
create function rowcall.in_lanes_v1(relation integer, key jsonb, next_key jsonb, lanes integer[]) returns boolean
language sql immutable parallel safe
return lanes is null or key is null or rowcall.lane_v1(relation, key) operator(pg_catalog.=) any (lanes)
  or (next_key is not null and rowcall.lane_v1(relation, next_key) operator(pg_catalog.=) any (lanes));
