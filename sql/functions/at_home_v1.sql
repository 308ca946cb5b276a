-- Whether an event is at home in one of a cursor's lanes, so that this one delivers it.
-- Called by: queries that ask what cursors have delivered. Cost: inlined, so without a search_path of its own, a hash of the key
-- unless the cursor has all lanes.
create function rowcall.at_home_v1(relation integer, key jsonb, lanes smallint[]) returns boolean
language sql immutable parallel safe
return pg_catalog.cardinality(lanes) operator(pg_catalog.=) 16
  or rowcall.lane_v1(relation, key) operator(pg_catalog.=) any (lanes);
