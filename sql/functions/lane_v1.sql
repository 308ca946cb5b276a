-- The lane of a key: 0 to 15, for good, since cursors rest on it. Equal keys have one lane, as jsonb hashes 1 and 1.0 alike; what has
-- no key, a truncate, is at home in lane 0 and concerns all.
-- Called by: the reader of the log, for subscriptions whose lanes are apart. Cost: inlined, so without a
-- search_path of its own, a hash of the key.
create function rowcall.lane_v1(relation integer, key jsonb) returns integer
language sql immutable parallel safe
return case when key is null then 0 else (pg_catalog.jsonb_hash_extended(key, relation) operator(pg_catalog.&) 15)::integer end;
