-- Databases restored from a dump, see functions/reanchor_v1.sql.

-- name: is_restored
select i.mark <> c.mark from rowcall.installation as i cross join rowcall.cluster as c;

-- name: reanchor
select rowcall.reanchor_v1();

-- name: stage_ended
-- The cursor once its stage is delivered: another one follows if the database was restored in the middle of it. After what was
-- restored, windows go on from the restore.
update rowcall.cursor as c set
  stage = case when c.restored_until > 0 then 'restored'::rowcall.stage end,
  stage_seq = c.restored_seq, stage_until = c.restored_until, restored_seq = 0, restored_until = 0,
  lower = case when c.stage <> 'restored' then c.lower when c.restored_until > 0 then '1:1:' else i.anchor end,
  upper = case when c.stage <> 'restored' then c.upper end,
  last_seq = case when c.stage <> 'restored' then c.last_seq else 0 end
from rowcall.installation as i
where c.id = %(cursor)s and c.stage is not null;
