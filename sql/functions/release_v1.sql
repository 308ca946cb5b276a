-- Has a worker give up lanes until it has no more than "kept"; with none left its row goes too, as it is done.
-- Called by: a worker between two slices, in autocommit.
create function rowcall.release_v1(worker integer, kept integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor rowcall.cursor;
  v_room integer := release_v1.kept;
begin
  for v_cursor in select * from rowcall.cursor as c where c.owner = release_v1.worker order by cardinality(c.lanes) desc, c.id for update
  loop
    if v_room <= 0 then
      update rowcall.cursor as c set owner = null, epoch = c.epoch + 1 where c.id = v_cursor.id;
    elsif cardinality(v_cursor.lanes) > v_room then
      perform rowcall.split_v1(v_cursor.id, v_room);
    end if;
    v_room := v_room - cardinality(v_cursor.lanes);
  end loop;
  if release_v1.kept = 0 then
    delete from rowcall.worker as w where w.id = release_v1.worker;
  end if;
end $$;
