-- The whole image of a row before an event, of which an update stores only what it changed.
-- Called by: readers of the log.
create function rowcall.old_image_v1(old jsonb, new jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when old is null or new is null then old
    else (new || old) - '' || case when exact = '{}' then '{}' else jsonb_build_object('', jsonb_build_object('exact', exact)) end
  end
  from (
    select coalesce((new #> '{"",exact}') - array(select jsonb_object_keys(old)), '{}') || coalesce(old #> '{"",exact}', '{}')
  ) as e (exact)
$$;
