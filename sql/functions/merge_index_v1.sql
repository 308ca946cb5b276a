-- Merges what is new in the indexes on keys, which writers leave in a list at their end: in bulk that costs a tenth of what each of
-- them would pay. Without it, autovacuum does, or the writer who fills the list; readers go through the list meanwhile, 7 ms at most.
-- Nobody waits for it. Says how many pages it merged.
-- Called by: the listener every few seconds. Runs with the rights of its caller, who owns the log.
create function rowcall.merge_index_v1() returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(gin_clean_pending_list(t.relid)), 0)::bigint
  from pg_class as i
  cross join lateral pg_partition_tree(i.oid) as t
  where i.oid in ('rowcall.event_key_index'::regclass, 'rowcall.event_next_key_index'::regclass) and t.isleaf
$$;
