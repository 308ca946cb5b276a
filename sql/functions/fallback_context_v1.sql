-- The context as JSON although somebody set rowcall.context by hand to what is none, or no object: kept as text, never lost.
-- Called by: capture functions, beside fallback_image_v1.
create function rowcall.fallback_context_v1() returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := nullif(current_setting('rowcall.context', true), '');
begin
  return case when v_text is null or jsonb_typeof(v_text::jsonb) = 'object' then v_text::jsonb
    else jsonb_build_object('unparsed', v_text) end;
exception when others then
  return jsonb_build_object('unparsed', v_text);
end $$;

-- The statement that notes the context: what act_v1 sets, which begins with a brace, without a call. Under an IF, because an
-- expression that is not reached need not be made ready, and in a block, because somebody may have set by hand what is no JSON.
-- Called by: the generators.
create function rowcall.context_statement_v1() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select $statement$  if current_setting('rowcall.context', true) > '' then
    begin
      v_context := case when current_setting('rowcall.context', true) like '{%' then current_setting('rowcall.context', true)::jsonb
        else rowcall.fallback_context_v1() end;
    exception when others then
      v_context := rowcall.fallback_context_v1();
    end;
  end if;
$statement$::text
$$;
