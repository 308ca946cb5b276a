-- EXECUTE is PUBLIC's by default: taken back from every function of ours but act, then given where definer functions need it.
-- Ran by: migration rowcall_0001, last.
revoke execute on all routines in schema rowcall from public;
grant execute on function rowcall.act(text, jsonb) to public;
alter function rowcall.capture_truncate_v1() owner to rowcall_capture;
alter function rowcall.leave_statement_v1() owner to rowcall_capture;
-- What capture calls, and what it needs to write the expressions of an image anew while it runs.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc as p
    where p.pronamespace = 'rowcall'::regnamespace and p.proname = any ('{flush_move_v1,differing_v1,key_expression_v1,
      image_expression_v1,exact_expression_v1,whole_row_v1,texts_v1,value_expression_v1,columns_v1,encoding_v1,
      base_type_v1,element_type_v1,loss_v1}'::text[])
  loop
    execute format('grant execute on function %s to rowcall_capture', v_function);
  end loop;
end $$;
grant execute on function rowcall.fallback_image_v1(anyelement, oid, jsonb), rowcall.fallback_key_v1(jsonb, oid, jsonb),
  rowcall.fallback_context_v1(), rowcall.columns_v1(oid, jsonb), rowcall.encoding_v1(oid),
  rowcall.value_expression_v1(text, text, text, boolean), rowcall.redacted_v1(anyelement),
  rowcall.base_type_v1(oid), rowcall.element_type_v1(oid), rowcall.loss_v1(text, oid), rowcall.with_exact_v1(jsonb, text, text),
  rowcall.unheld_v1(jsonb, text, text)
  to rowcall_capture;
grant execute on function rowcall.fallback_image_v1(anyelement, oid, jsonb), rowcall.fallback_key_v1(jsonb, oid, jsonb),
  rowcall.fallback_context_v1(), rowcall.columns_v1(oid, jsonb), rowcall.encoding_v1(oid),
  rowcall.value_expression_v1(text, text, text, boolean), rowcall.redacted_v1(anyelement),
  rowcall.base_type_v1(oid), rowcall.element_type_v1(oid), rowcall.loss_v1(text, oid), rowcall.with_exact_v1(jsonb, text, text),
  rowcall.unheld_v1(jsonb, text, text),
  rowcall.request_v1(integer, text, jsonb, jsonb, jsonb), rowcall.signature_v1(text), rowcall.gate_body_v1(jsonb),
  rowcall.gate_unanswered_v1(jsonb), rowcall.record_rejection_v1(jsonb)
  to rowcall_gate;
revoke create on schema rowcall from rowcall_capture, rowcall_gate;
