-- Says who acts and why, until the end of the transaction. Open to everybody: the actor is what the
-- application claims, and the log keeps the database role beside it.
-- Called by: applications, rowcall.acting. Cost: two settings.
create function rowcall.act(actor text, context jsonb default '{}') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(context) <> 'object' then
    raise exception using errcode = '22023', message = format('rowcall.act: context must be a JSON object, not %s',
      jsonb_typeof(context)), hint = 'Pass something like {"request_id": "…"}.';
  end if;
  perform set_config('rowcall.actor', coalesce(actor, ''), true);
  perform set_config('rowcall.context', case when context = '{}' then '' else context::text end, true);
end $$;
grant execute on function rowcall.act(text, jsonb) to public;
