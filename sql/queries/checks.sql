-- What is wrong or risky in an installation: one query for each check of rowcall doctor. An empty answer means that all is well.

-- name: capture_not_current
-- Watches whose triggers and functions are not those that their tables would get now. Dropped tables, for which none can be
-- generated, are left to "dropped": OFFSET 0 has them sorted out first.
select w.schema_name, w.table_name, w.declared_by, w.options
from (
  select r.id, r.schema_name, r.table_name, w.declared_by, w.options
  from rowcall.watch as w
  join rowcall.relation as r on r.id = w.relation and r.dropped_at is null
  join pg_class as c on c.oid = r.oid
  offset 0
) as w
where rowcall.capture_is_current_v1(w.id) is not true
order by 1, 2;

-- name: capture_disabled
select r.schema_name, r.table_name, w.declared_by, w.options
from rowcall.watch as w
join rowcall.relation as r on r.id = w.relation and r.dropped_at is null
join pg_class as c on c.oid = r.oid
where not rowcall.capture_is_enabled_v1(r.id)
order by 1, 2;

-- name: guard_not_current
-- Tables whose validation is not what was declared for them, as "capture_not_current".
select g.schema_name, g.table_name, g.declared_by
from (
  select r.id, r.schema_name, r.table_name, array_agg(distinct d.declared_by) as declared_by
  from (
    select relation, declared_by from rowcall.rule union select relation, declared_by from rowcall.before_handler
  ) as d
  join rowcall.relation as r on r.id = d.relation and r.dropped_at is null
  join pg_class as c on c.oid = r.oid
  group by r.id, r.schema_name, r.table_name
  offset 0
) as g
where rowcall.guard_is_current_v1(g.id) is not true
order by 1, 2;

-- name: late_triggers
-- BEFORE ROW triggers that can change a row after our validation and that no name of ours sorts after, see functions/place_guards_v1.sql.
select distinct t.table_oid::regclass::text, quote_ident(t.name)
from rowcall.relation as r
cross join lateral rowcall.others_before_v1(r.id) as t
join pg_trigger as g on g.oid = t.trigger_oid and g.tgparentid = 0 and g.tgenabled <> 'D' and g.tgtype & 20 <> 0
where r.dropped_at is null and exists (select from rowcall.guards_of_v1(r.oid))
  and t.name > (rowcall.guard_prefix_v1(r.id) || '1')::name
order by 1, 2;

-- name: dropped
-- Tables that are gone and still declared: whether there is one of that name again, and the statements that forget them.
select r.schema_name, r.table_name, to_regclass(format('%%I.%%I', r.schema_name, r.table_name)) is not null,
  array_agg(distinct format('delete from rowcall.%%I where relation = %%s', d.kind, r.id)),
  array_agg(distinct d.declared_by), coalesce(w.options, '{}')
from (
  select 'watch' as kind, relation, declared_by from rowcall.watch
  union select 'rule', relation, declared_by from rowcall.rule
  union select 'before_handler', relation, declared_by from rowcall.before_handler
) as d
join rowcall.relation as r on r.id = d.relation
left join rowcall.watch as w on w.relation = r.id
where r.dropped_at is not null or not exists (select from pg_class where oid = r.oid)
group by r.id, r.schema_name, r.table_name, w.options
order by 1, 2;

-- name: not_following
-- Event triggers that follow DDL and do not fire for ordinary sessions: whether they are there at all.
select w.name, e.oid is not null
from (values ('rowcall_follow_ddl'), ('rowcall_follow_drop')) as w (name)
left join pg_event_trigger as e on e.evtname = w.name
where e.evtenabled is null or e.evtenabled not in ('O', 'A')
order by 1;

-- name: overflow
-- Whether the log's last partition holds events already.
select exists (select from rowcall.event where at >= %(since)s);

-- name: restored
-- A row where a restore into another cluster was not followed up, see functions/reanchor_v1.sql.
select i.mark from rowcall.installation as i join rowcall.cluster as c on i.mark <> c.mark and i.system <> c.system;

-- name: newest_end
-- Where the newest partition of the log ends.
select max(substring(pg_get_expr(c.relpartbound, c.oid) from $$TO \('([^']+)'\)$$)::timestamptz)::text
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
where i.inhparent = 'rowcall.event'::regclass;

-- name: unguarded
-- Triggers that keep the log append-only and are missing or disabled, and the statement that brings each back.
-- A row trigger of the log is cloned to its partitions, so what is wrong with it is told once.
with guards as (
  select t.relid as table_oid, t.level, w.*
  from pg_partition_tree('rowcall.event') as t
  cross join (values ('append_only', 'before update or delete', 'row'),
    ('append_only_truncate', 'before truncate', 'statement')) as w (name, timing, unit)
  union all
  select * from (values ('rowcall.seal'::regclass, 0, 'append_only', 'before update or delete or truncate', 'statement'),
    ('rowcall.leaf', 0, 'append_only', 'before update or truncate', 'statement'),
    ('rowcall.erasure', 0, 'append_only', 'before update or delete or truncate', 'statement')) as w
), wanted as (
  select w.*, g.tgenabled in ('O', 'A') as works, g.oid as trigger_oid
  from guards as w
  left join pg_trigger as g on g.tgrelid = w.table_oid and g.tgname = w.name
    and g.tgfoid = to_regproc('rowcall.refuse_alteration_v1')
)
select table_oid::regclass::text, name, trigger_oid is not null,
  case when trigger_oid is not null then format('alter table %%s enable trigger %%I', table_oid::regclass, name)
  else format('create trigger %%I %%s on %%s for each %%s execute function rowcall.refuse_alteration_v1()', name, timing,
    table_oid::regclass, unit) end
from wanted as w
where works is not true
  and not (level > 0 and name = 'append_only'
    and exists (select from wanted where level = 0 and name = 'append_only' and unit = 'row' and works is not true))
order by level, 1, 2;

-- name: grants
-- Roles that were granted to write to the log, but its owner and, for capture, rowcall_capture.
select coalesce(quote_ident(g.rolname), 'public'), string_agg(distinct lower(a.privilege_type), ', '),
  string_agg(distinct t.relid::regclass::text, ', ')
from pg_partition_tree('rowcall.event') as t
join pg_class as c on c.oid = t.relid
cross join lateral (
  select x.* from aclexplode(c.relacl) as x
  union
  select x.* from pg_attribute as l cross join lateral aclexplode(l.attacl) as x where l.attrelid = c.oid
) as a
left join pg_roles as g on g.oid = a.grantee
where a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  and a.grantee <> c.relowner and g.rolsuper is not true
  and not (coalesce(g.rolname, '') = 'rowcall_capture' and a.privilege_type = 'INSERT' and t.level = 0)
group by 1
order by 1;

-- name: members
-- Who is a member of a role that may write to the log, superusers and the log's owner aside.
select m.rolname, r.rolname, quote_ident(r.rolname), quote_ident(m.rolname), r.oid = c.relowner
from pg_auth_members as a
join pg_roles as r on r.oid = a.roleid
join pg_roles as m on m.oid = a.member
join pg_class as c on c.oid = 'rowcall.event'::regclass
where (r.rolname in ('rowcall_capture', 'rowcall_gate', 'pg_write_all_data') or r.oid = c.relowner)
  and not m.rolsuper and m.oid <> c.relowner
group by 1, 2, 3, 4, 5
order by 2, 1;

-- name: owners
-- Who owns watched tables, superusers aside.
select o.rolname, array_agg(r.schema_name || '.' || r.table_name order by r.schema_name, r.table_name)
from rowcall.watch as w
join rowcall.relation as r on r.id = w.relation and r.dropped_at is null
join pg_class as c on c.oid = r.oid
join pg_roles as o on o.oid = c.relowner
where not o.rolsuper
group by 1
order by 1;

-- name: defaults
-- What is set for sessions of this database, where, and the statement that takes it back.
select s.place, s.value, s.undo
from (
  select 'the server' as place, setting as value, format('alter system set %%I = %%L', name, boot_val) as undo
  from pg_settings
  where name = %(name)s and source in ('environment variable', 'configuration file', 'command line')
  union all
  select p.place, substr(c.said, strpos(c.said, '=') + 1), format('alter %%s reset %%I', p.place, %(name)s::text)
  from pg_db_role_setting as d
  left join pg_roles as r on r.oid = d.setrole
  left join pg_database as b on b.oid = d.setdatabase
  cross join lateral unnest(d.setconfig) as c (said)
  cross join lateral (
    select case
      when d.setrole = 0 and d.setdatabase <> 0 then format('database %%I', b.datname)
      else concat('role ', coalesce(quote_ident(r.rolname), 'all'), ' in database ' || quote_ident(b.datname)) end
  ) as p (place)
  where lower(split_part(c.said, '=', 1)) = %(name)s
    and (d.setdatabase = 0 or b.datname = current_database())
) as s
order by 1;

-- name: prepared_transactions
select current_setting('max_prepared_transactions')::integer;

-- name: room
-- Sessions that can still connect: to the server, and to this database where it has a limit of its own. How many a listener of
-- all subscriptions needs: its reader, its doorbell, the log's, two of the gate, and one for each of them.
select
  current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true), '0')::integer - u.everywhere,
  case when d.datconnlimit >= 0 then d.datconnlimit - u.here end,
  5 + (select count(*) from rowcall.subscription), quote_ident(d.datname)
from pg_database as d
cross join (
  select sum(numbackends) as everywhere, sum(numbackends) filter (where datname = current_database()) as here
  from pg_stat_database
) as u
where d.datname = current_database();

-- name: incomplete_backfills
select name, declared_by from rowcall.subscription where not ready order by 1;

-- name: set_aside
-- Of each subscription the events that failed or wait behind one that did: parked ones, and dead letters.
select s.name, count(*) filter (where not p.dead), count(*) filter (where p.dead)
from rowcall.parked as p join rowcall.subscription as s on s.id = p.subscription
group by s.name
order by s.name;

-- name: gate
-- The tables with before-handlers, and what the gate lacks to ask them.
select array_agg(distinct r.schema_name || '.' || r.table_name), array_remove(array[
  case when to_regprocedure('rowcall.ask_v1(text, jsonb, integer)') is null then 'function rowcall.ask_v1' end,
  case when not exists (select from pg_extension where extname = 'dblink') then 'extension dblink' end,
  case when not exists (select from pg_foreign_server where srvname = 'rowcall_gate') then 'foreign server rowcall_gate' end,
  case when not exists (select from pg_user_mappings where srvname = 'rowcall_gate' and usename = 'rowcall_gate')
    then 'user mapping' end,
  case when not exists (select from rowcall.gate_logins_v1()) then 'login' end], null)
from rowcall.before_handler as h
join rowcall.relation as r on r.id = h.relation and r.dropped_at is null;

-- name: gate_shown
-- Logins of the gate whose sessions show what they are asked, and the statement that ends it.
select l, format('alter role %%I in database %%I set track_activities = off', l, current_database())
from rowcall.gate_logins_v1() as l
join pg_roles as r on r.rolname = l
where not exists (
  select from pg_db_role_setting as s
  where s.setrole = r.oid and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
    and 'track_activities=off' = any (s.setconfig))
order by 1;

-- name: more_rights
-- Roles that were granted more on Rowcall's tables than an auditor of the log has, but rights to write to the log, of which "grants" tells.
select coalesce(quote_ident(g.rolname), 'public'), string_agg(distinct format('%%s on %%s', lower(a.privilege_type), c.oid::regclass), ', '),
  array_agg(distinct format('revoke %%s on %%s from %%s', lower(a.privilege_type), c.oid::regclass, coalesce(quote_ident(g.rolname), 'public')))
from pg_class as c
cross join lateral aclexplode(c.relacl) as a
left join pg_roles as g on g.oid = a.grantee
where c.relnamespace = 'rowcall'::regnamespace and a.grantee <> c.relowner and g.rolsuper is not true
  and coalesce(g.rolname, '') not in ('rowcall_capture', 'rowcall_gate')
  and not (c.oid in (select relid from pg_partition_tree('rowcall.event')) and a.privilege_type <> 'SELECT')
  and not exists (
    select from rowcall.rights_v1('auditor') as r
    where r.place = 'table ' || c.oid::regclass::text and upper(r.privilege) = a.privilege_type)
group by 1
order by 1;

-- name: free_lanes
-- How many lanes of each subscription nobody has, though others have some.
select s.name, sum(cardinality(c.lanes)) filter (where l.id is null)
from rowcall.subscription as s
join rowcall.cursor as c on c.subscription = s.id
left join rowcall.live_worker as l on l.id = c.owner
group by s.name
having count(l.id) between 1 and count(*) - 1
order by s.name;

-- name: unendable
-- Logins that deliver one subscription, the first of which may not see or not end sessions of the second; and whether that can be
-- granted.
with login as (
  select distinct w.subscription, r.oid, r.rolname, r.rolsuper
  from rowcall.live_worker as l
  join rowcall.worker as w using (id)
  join pg_stat_activity as a on a.pid = w.sessions[1]
  join pg_roles as r on r.oid = a.usesysid
)
select s.name, quote_ident(one.rolname), quote_ident(other.rolname), not other.rolsuper
from login as one
join login as other on other.subscription = one.subscription and other.oid <> one.oid
join rowcall.subscription as s on s.id = one.subscription
where not one.rolsuper and not pg_has_role(one.oid, other.oid, 'usage')
  and (other.rolsuper
    or not (pg_has_role(one.oid, 'pg_signal_backend', 'usage') and pg_has_role(one.oid, 'pg_read_all_stats', 'usage')))
order by 1, 2, 3;
