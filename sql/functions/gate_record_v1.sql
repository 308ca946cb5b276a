-- Records a refusal by a rule.
create function rowcall.gate_record_v1(request text, signature text) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer constant jsonb := '{"verdict": "recorded"}';
begin
  perform rowcall.record_rejection_v1(rowcall.gate_body_v1(request, signature));
  return v_answer || jsonb_build_object('signature',
    rowcall.signature_v1(signature || v_answer::text));
end $$;

alter function rowcall.gate_record_v1(text, text) owner to rowcall_gate;
