-- The revision of Rowcall's own schema, and the locks that keep two migrations apart.

-- name: is_installed
select to_regclass('rowcall.alembic_version') is not null;

-- name: revision
select version_num from rowcall.alembic_version;

-- name: lock
-- Two migrations at once wait for each other here; Alembic takes no lock of its own. See queries/wakeups.sql for the class.
select pg_advisory_xact_lock(1383036771, 100);

-- name: extend_partitions
select rowcall.extend_partitions_v1();

-- name: merge_index
select rowcall.merge_index_v1();
