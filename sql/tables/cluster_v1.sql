-- What tells a restored database from the one that was dumped. pg_restore fills a materialized view anew, at its end: then its
-- mark is another than the installation's, and its system that of the new cluster, where transaction ids begin
-- anew. Copies of a cluster (promotion, base backup, pg_upgrade) keep the mark, and their transaction ids go on. So they do in
-- a copy within the cluster, and where somebody refreshes the view: there the system is the same.
--   seq, snapshot  the end of the log and what was visible when it was restored
-- Read by: reanchor_v1, rowcall doctor.
create materialized view rowcall.cluster as
select pg_catalog.gen_random_uuid() as mark, s.system_identifier as system, e.last_value as seq,
  pg_catalog.pg_current_snapshot() as snapshot
from rowcall.event_seq as e cross join pg_catalog.pg_control_system() as s;
update rowcall.installation as i set mark = c.mark, system = c.system from rowcall.cluster as c;
