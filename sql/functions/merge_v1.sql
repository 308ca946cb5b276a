-- Makes one cursor of those of a worker that are at one place.
-- Called by: a worker that has several, after it wrote down where they are; in autocommit.
create function rowcall.merge_v1(worker integer) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  with mine as (
    select * from rowcall.cursor as c where c.owner = merge_v1.worker for update
  ), place as (
    select min(c.id) as id, array_agg(c.id) as ids, sum(c.delivered) as delivered
    from mine as c
    group by c.lower::text, c.upper::text, c.last_seq, c.number, c.stage, c.stage_seq, c.stage_until,
      c.restored_seq, c.restored_until
    having count(*) > 1
  ), gone as (
    delete from rowcall.cursor as c using place as p where c.id = any (p.ids) and c.id <> p.id returning p.id, c.lanes
  )
  update rowcall.cursor as c
  set delivered = p.delivered, epoch = c.epoch + 1, lanes = (
    select array_agg(lane order by lane)
    from (select unnest(c.lanes) union all select unnest(g.lanes) from gone as g where g.id = p.id) as all_lanes (lane)
  )
  from place as p where c.id = p.id;
  -- Together again, nobody walks behind anybody.
  delete from rowcall.window as w
  using rowcall.cursor as c
  where c.owner = merge_v1.worker and cardinality(c.lanes) = 16 and w.subscription = c.subscription;
$$;
