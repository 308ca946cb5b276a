-- EXECUTE is PUBLIC's by default: taken back from every function of ours but act, then given, by name, where definer
-- functions need it: to make images, and to write their expressions anew while capture runs on a table that changed.
-- Ran by: migration rowcall_0001, last.
revoke execute on all routines in schema rowcall from public;
grant execute on function rowcall.act(text, jsonb) to public;
alter function rowcall.capture_truncate_v1() owner to rowcall_capture;
alter function rowcall.leave_statement_v1() owner to rowcall_capture;
do $$
declare
  v_images constant text[] := '{fallback_image_v1,fallback_key_v1,fallback_context_v1,columns_v1,means_v1,encoding_v1,redacted_v1,
    value_expression_v1,texts_expression_v1,base_type_v1,element_type_v1,loss_v1,exact_value_v1,with_exact_v1,unheld_v1}';
  v_capture constant text[] := v_images || '{flush_move_v1,differing_v1,fallback_expression_v1,
    exact_expression_v1,losses_v1,is_of_v1,has_columns_v1,texts_v1,bell_v1,log_event_v1}'::text[];
  v_gate constant text[] := v_images || '{request_v1,signature_v1,gate_body_v1,gate_unanswered_v1,gate_hurry_v1,gate_wait_v1,record_rejection_v1,
    is_rejection_recorded_v1,short_v1,rule_column_v1}'::text[];
  v_function record;
begin
  for v_function in
    select p.oid::regprocedure as signature, p.proname = any (v_capture) as capture, p.proname = any (v_gate) as gate
    from pg_catalog.pg_proc as p where p.pronamespace = 'rowcall'::regnamespace
  loop
    if v_function.capture then
      execute format('grant execute on function %s to rowcall_capture', v_function.signature);
    end if;
    if v_function.gate then
      execute format('grant execute on function %s to rowcall_gate', v_function.signature);
    end if;
  end loop;
end $$;
revoke create on schema rowcall from rowcall_capture, rowcall_gate;
