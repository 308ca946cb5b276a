-- Databases restored from a dump, see functions/reanchor_v1.sql.

-- name: is_restored
select i.mark <> c.mark from rowcall.installation as i cross join rowcall.cluster as c;

-- name: reanchor
select rowcall.reanchor_v1();
