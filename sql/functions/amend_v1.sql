-- Writes into the row what before-handlers amended, with the writer's own rights: the input of a type or the check
-- of a domain may run code that somebody defined. The gate's trigger, which fires just before under the same condition,
-- leaves the amendment in a setting of the transaction; it sets or clears it for every row.
-- Called by: the triggers zz_rowcall_1_…_2_amend_…, only where there is something to amend.
create function rowcall.amend_v1() returns trigger
language plpgsql
as $$
begin
  new := pg_catalog.jsonb_populate_record(new, pg_catalog.current_setting('rowcall.amendment')::pg_catalog.jsonb);
  perform pg_catalog.set_config('rowcall.amendment', '', true);
  return new;
end $$;
