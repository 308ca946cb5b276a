-- EXECUTE is PUBLIC's by default: taken back from every function of ours but act, then given where definer functions need it.
-- Ran by: migration rowcall_0001, last.
revoke execute on all routines in schema rowcall from public;
grant execute on function rowcall.act(text, jsonb) to public;
alter function rowcall.capture_truncate_v1() owner to rowcall_capture;
grant execute on function rowcall.fallback_image_v1(anyelement, oid, jsonb), rowcall.fallback_key_v1(jsonb, oid, jsonb),
  rowcall.fallback_context_v1(), rowcall.columns_v1(oid, jsonb), rowcall.encoding_v1(oid),
  rowcall.value_expression_v1(text, text, text, boolean), rowcall.redacted_v1(anyelement)
  to rowcall_capture;
grant execute on function rowcall.fallback_context_v1(), rowcall.redacted_v1(anyelement), rowcall.gate_record_v1(jsonb),
  rowcall.gate_unanswered_v1(jsonb), rowcall.request_v1(integer, text, jsonb, jsonb, jsonb)
  to rowcall_gate;
revoke create on schema rowcall from rowcall_capture, rowcall_gate;
