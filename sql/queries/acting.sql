-- Who acts and why, for the length of a transaction. See functions/act_v1.sql.

-- name: begin
-- Claims on top of what was claimed before, and says what that was. OFFSET 0 has it read before act() overwrites it.
select before.actor, before.context::text,
  rowcall.act(coalesce(%(actor)s, before.actor), coalesce(before.context, '{}') || %(context)s::jsonb)
from (
  select nullif(current_setting('rowcall.actor', true), '') as actor,
    nullif(current_setting('rowcall.context', true), '')::jsonb as context
  offset 0
) as before;

-- name: end
select rowcall.act(%(actor)s, coalesce(%(context)s::jsonb, '{}'));
