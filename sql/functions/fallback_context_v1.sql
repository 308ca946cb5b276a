-- The context as JSON although somebody set rowcall.context by hand to what is none: kept as text, never lost.
-- Called by: capture functions, beside fallback_image_v1.
create function rowcall.fallback_context_v1() returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(current_setting('rowcall.context', true), '')::jsonb;
exception when others then
  return jsonb_build_object('unparsed', current_setting('rowcall.context', true));
end $$;
