-- gate_record_v1 as a procedure, so that ask_v1 calls the two alike.
create procedure rowcall.gate_refuse_v1(request text, signature text, inout answer jsonb)
language plpgsql
as $$
begin
  answer := rowcall.gate_record_v1(request, signature);
end $$;
