-- A partition of the log and its guards: only INSERT is possible, but for the transaction that recorded an erasure: it may take values
-- out of the events that its record names. Row triggers on the parent are cloned to partitions, statement triggers
-- are not, so TRUNCATE is guarded on each.
-- Called by: migration rowcall_0001, retention.
create function rowcall.refuse_alteration_v1() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Statements on other tables have no old.seq.
  if tg_op = 'UPDATE' and tg_level = 'ROW' then
    if (new.seq, new.xid, new.at, new.relation, new.operation, new.db_user, new.db_role, new.application_name)
        is not distinct from
       (old.seq, old.xid, old.at, old.relation, old.operation, old.db_user, old.db_role, old.application_name)
      and exists (select from rowcall.erasure where xid = pg_current_xact_id() and seqs @> old.seq)
    then
      return new;
    end if;
  end if;
  raise exception using errcode = '42501', message = format('%s of the log is not possible: it is append-only.', lower(tg_op)),
    hint = 'Use "rowcall prune" for retention and "rowcall audit erase" for erasure.';
end $$;

-- What proves the log is append-only too.
create trigger append_only before update or delete or truncate on rowcall.seal
  for each statement execute function rowcall.refuse_alteration_v1();
create trigger append_only before update or truncate on rowcall.leaf
  for each statement execute function rowcall.refuse_alteration_v1();
create trigger append_only before update or delete or truncate on rowcall.erasure
  for each statement execute function rowcall.refuse_alteration_v1();

create trigger append_only before update or delete on rowcall.event
  for each row execute function rowcall.refuse_alteration_v1();
create trigger append_only_truncate before truncate on rowcall.event
  for each statement execute function rowcall.refuse_alteration_v1();

create function rowcall.create_partition_v1(lower text, upper text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := format('event_%s', case lower when 'minvalue' then 'first' else to_char(lower::date, 'YYYY_MM') end);
begin
  execute format('create table rowcall.%I partition of rowcall.event for values from (%s) to (%s)', v_name,
    case lower when 'minvalue' then lower else quote_literal(lower) end,
    case upper when 'maxvalue' then upper else quote_literal(upper) end);
  execute format('create trigger append_only_truncate before truncate on rowcall.%I
    for each statement execute function rowcall.refuse_alteration_v1()', v_name);
end $$;

-- This month, the next three, and one that reaches to the end of time.
create function rowcall.create_first_partitions_v1() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_month timestamp := date_trunc('month', now() at time zone 'UTC') + interval '1 month';
begin
  perform rowcall.create_partition_v1('minvalue', v_month || '+00');
  for i in 1..3 loop
    perform rowcall.create_partition_v1(v_month || '+00', (v_month + interval '1 month') || '+00');
    v_month := v_month + interval '1 month';
  end loop;
  perform rowcall.create_partition_v1(v_month || '+00', 'maxvalue');
end $$;
select rowcall.create_first_partitions_v1();
drop function rowcall.create_first_partitions_v1();
