-- Takes lanes for a worker: all that dead workers left behind, since nobody else may notice before long, and of those that are free
-- so many that the worker has "most". Lanes that another claim is about to take are left to it.
-- Nothing, as long as the subscription's backfill is not complete.
-- left_behind: who died with them, unless it was the worker's own process, which then only connected anew.
-- Called by: a worker, in autocommit.
create function rowcall.claim_v1(worker integer, most integer) returns table (cursor integer, left_behind text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_worker rowcall.worker;
  v_cursor record;
  v_room integer;
begin
  select w.* into v_worker
  from rowcall.worker as w join rowcall.subscription as s on s.id = w.subscription
  where w.id = claim_v1.worker and s.ready;
  select claim_v1.most - coalesce(sum(cardinality(c.lanes)), 0) into v_room
  from rowcall.cursor as c where c.subscription = v_worker.subscription and c.owner = v_worker.id;
  for v_cursor in
    select c.*, d.process as dead
    from rowcall.cursor as c left join rowcall.worker as d on d.id = c.owner
    where c.subscription = v_worker.subscription
      and (c.owner is null or not exists (select from rowcall.live_worker as l where l.id = c.owner))
    order by c.owner is null, c.id
    for update of c skip locked
  loop
    -- It may have changed hands since this statement began, to one who was not there yet.
    continue when exists (select from rowcall.live_worker as l where l.id = v_cursor.owner);
    if v_cursor.owner is null then
      exit when v_room <= 0;
      if cardinality(v_cursor.lanes) > v_room then
        perform rowcall.split_v1(v_cursor.id, v_room);
      end if;
    end if;
    update rowcall.cursor as c set owner = v_worker.id, epoch = c.epoch + 1 where c.id = v_cursor.id;
    v_room := v_room - cardinality(v_cursor.lanes);
    cursor := v_cursor.id;
    left_behind := nullif(coalesce(v_cursor.dead, case when v_cursor.owner is not null then '' end), v_worker.process);
    return next;
  end loop;
  delete from rowcall.worker as w
  where w.subscription = v_worker.subscription
    and not exists (select from rowcall.live_worker as l where l.id = w.id)
    and not exists (select from rowcall.cursor as c where c.owner = w.id);
end $$;

-- Leaves a cursor the first so many of its lanes, and the others to a new one at the same place, that is free.
-- Called by: claim_v1, release_v1.
create function rowcall.split_v1(cursor integer, kept integer) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowcall.cursor (subscription, lanes, lower, upper, last_seq, number, stage, stage_seq, stage_until,
    restored_seq, restored_until, epoch)
  select c.subscription, c.lanes[kept + 1:], c.lower, c.upper, c.last_seq, c.number, c.stage, c.stage_seq, c.stage_until,
    c.restored_seq, c.restored_until, c.epoch
  from rowcall.cursor as c where c.id = split_v1.cursor;
  update rowcall.cursor as c set lanes = c.lanes[1:kept] where c.id = split_v1.cursor;
$$;
