-- The doorbell, from the sleeper's side. See functions/ring_v1.sql for the writer's.

-- name: lie_down
-- Always by try: a blocked wait would make every writer ring.
select pg_try_advisory_lock(1383036771, 0);

-- name: get_up
select pg_advisory_unlock(1383036771, 0);

-- name: doorbell_possible
-- A transaction that sent NOTIFY cannot be PREPAREd: where that could be asked for, nobody sleeps and nobody rings.
select current_setting('max_prepared_transactions')::integer = 0;
