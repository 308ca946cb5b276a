-- The whole image of a row before an event, of which an update stores only what it changed.
-- Called by: readers of the log.
create function rowcall.old_image_v1(old json, new json) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when before is null or after is null then before
    else (after || before) - '' || case when exact = '{}' then '{}' else jsonb_build_object('', jsonb_build_object('exact', exact)) end
  end
  from (select old::jsonb, new::jsonb) as images (before, after)
  cross join lateral (
    select coalesce((after #> '{"",exact}') - array(select jsonb_object_keys(before)), '{}')
      || coalesce(before #> '{"",exact}', '{}')
  ) as e (exact)
$$;
