-- Taking values out of the log and of what else Rowcall keeps of a row. See src/rowcall/audit/SEALS.md.

-- name: onward
-- The events of a key from one of them on, and the key that one of them gave the row instead.
select seq, next_key::text from rowcall.event
where relation = %(relation)s and key = %(key)s::jsonb and seq >= %(from)s
order by seq;

-- name: events
-- Of a table without a key: the events that made one of these rows what it is, and what it was before; or what became of them.
select seq, case when operation = 'update' then case when %(back)s then key::text else new::jsonb::text end end
from {source} as e
where relation = %(relation)s and case
  when %(back)s then operation in ('insert', 'snapshot') and key = any (%(rows)s::jsonb[])
    or operation = 'update' and new::jsonb = any (%(rows)s::jsonb[])
  else operation in ('update', 'delete') and key = any (%(rows)s::jsonb[]) end;

-- name: log
rowcall.event;

-- name: log_and_archives
(select seq, relation, operation, key, new from rowcall.event
 union all select seq, relation, operation, key, new from pg_temp.rowcall_archived);

-- name: places
-- The seals of events, their places there, their leaves and salts.
select w.seq, s.number, p.place - 1, substring(l.hashes from (p.place - 1) * 32 + 1 for 32),
  substring(t.salts from (p.place - 1) * 16 + 1 for 16)
from unnest(%(seqs)s::bigint[]) as w (seq)
join rowcall.seal as s on s.events > 0 and int8range(s.first_seq, s.last_seq, '[]') @> w.seq
join rowcall.leaf as l on l.seal = s.number
cross join lateral (select array_position(l.seqs, w.seq) as place) as p
left join rowcall.salt as t on t.seal = s.number
where p.place is not null;

-- name: keep
insert into rowcall.erased (seq, path, erasure, commitment, salt)
values (%(seq)s, %(path)s, %(erasure)s, %(commitment)s, %(salt)s)
on conflict (seq, path) do update set erasure = excluded.erasure, commitment = excluded.commitment, salt = excluded.salt
where excluded.commitment is not null;

-- name: forget_salt
update rowcall.salt set salts = overlay(salts placing %(zeros)s from %(from)s) where seal = %(seal)s;

-- name: blank
-- Possible only in the transaction that the erasure is recorded in, see functions/partitions_v1.sql.
update rowcall.event
set key = %(key)s::jsonb, next_key = %(next_key)s::jsonb, old = %(old)s::json, new = %(new)s::json, actor = %(actor)s,
  context = %(context)s::jsonb
where seq = %(seq)s;

-- name: rejections
-- Of the row; and of a row that never came to be, with a value of its: a refused insert was tried again under another number.
select id, key::text, old::text, new::text, actor, context::text, message, handler from rowcall.rejection as r
where relation = %(relation)s and (key = any (%(keys)s::jsonb[]) or operation = 'insert'
  and exists (select from jsonb_each_text(new) as v where v.key = any (%(columns)s) and v.value = any (%(values)s))
  and not exists (select from rowcall.event as e where e.relation = r.relation and e.key @> r.key and e.key = r.key))
for update;

-- name: blank_rejection
update rowcall.rejection
set key = %(key)s::jsonb, old = %(old)s::jsonb, new = %(new)s::jsonb, actor = %(actor)s, context = %(context)s::jsonb, message = %(message)s
where id = %(id)s;

-- name: blank_parked
update rowcall.parked set error = 'erased' where seq = any (%(seqs)s) and error is not null and error <> 'erased';

-- name: blank_skipped
update rowcall.skipped set error = 'erased' where seq = any (%(seqs)s) and error is not null and error <> 'erased';

-- name: blank_suspects
update rowcall.suspect set error = 'erased' where seq = any (%(seqs)s) and error is not null and error <> 'erased';

-- name: rekey_parked
-- By the key that the event has now.
update rowcall.parked as p set key = e.key, next_key = e.next_key
from rowcall.event as e
where e.seq = p.seq and e.seq = any (%(seqs)s) and (e.key, e.next_key) is distinct from (p.key, p.next_key);

-- name: rekey_skipped
update rowcall.skipped as p set key = e.key, next_key = e.next_key
from rowcall.event as e
where e.seq = p.seq and e.seq = any (%(seqs)s) and (e.key, e.next_key) is distinct from (p.key, p.next_key);

-- name: forget_requests
-- A session's row keeps its last question; those that are still asked are so for milliseconds.
update rowcall.request set body = null where relation = %(relation)s and body is not null and expires_at < clock_timestamp();

-- name: forget_positions
-- Of backfills that are complete, the key of the last row.
update rowcall.backfill set position = null where relation = %(relation)s and done and position = any (%(keys)s::jsonb[]);

-- name: forget_baselines
update rowcall.baseline set position = null where relation = %(relation)s and done and position = any (%(keys)s::jsonb[]);
