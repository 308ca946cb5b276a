"""The tables of the torture test, and the statements that change them."""

from typing import Any

import psycopg

#: Every change gives its row another stamp, so that a stamp names one version of one row.
#:
#: journal: what the writers did, by their own account, written in the transaction (and the statement) that did it.
#: copies: what the handlers were told, in the order of ``place``; ``xid`` and ``saw`` say in which transaction, and which
#: transactions were committed by then.
_TABLES = """
create sequence stamp;

create table item (id int primary key, stamp bigint not null, price int not null, note text not null);

create table stock (
  depot int, number int, stamp bigint not null, price int not null, note text not null,
  primary key (depot, number)
) partition by hash (depot);
create table stock_0 partition of stock for values with (modulus 2, remainder 0);
create table stock_1 partition of stock for values with (modulus 2, remainder 1);

create table journal (
  xid xid8 not null default pg_current_xact_id(),
  source text not null,
  operation text not null,
  key jsonb,
  next_key jsonb,
  stamp bigint
);

create table copies (
  place bigserial primary key,
  subscription text not null,
  seq bigint not null,
  stamp bigint,
  pid int not null,
  xid xid8 not null default pg_current_xact_id(),
  saw pg_snapshot not null default pg_current_snapshot()
);
create index on copies (subscription, seq);
"""

_RECORD = "insert into journal (source, operation, key, next_key, stamp) select"

#: By name; parameters are low and high (keys), price, note, and depot of stock's.
ITEM = {
    "insert": f"""
        with changed as (
          insert into item select n, nextval('stamp'), coalesce(%(price)s, 0), %(note)s
          from generate_series(%(low)s::int, %(high)s::int) as n on conflict do nothing returning *
        ) {_RECORD} 'item', 'insert', jsonb_build_object('id', id), null, stamp from changed
    """,
    "upsert": f"""
        with changed as (
          insert into item select n, nextval('stamp'), coalesce(%(price)s, 0), %(note)s
          from generate_series(%(low)s::int, %(high)s::int) as n
          on conflict (id) do update set stamp = excluded.stamp, price = excluded.price, note = excluded.note
          returning *, xmax = 0 as is_new
        ) {_RECORD} 'item', case when is_new then 'insert' else 'update' end, jsonb_build_object('id', id), null, stamp
        from changed
    """,
    "update": f"""
        with changed as (
          update item set stamp = nextval('stamp'), price = coalesce(%(price)s, price), note = %(note)s
          where id between %(low)s and %(high)s returning *
        ) {_RECORD} 'item', 'update', jsonb_build_object('id', id), null, stamp from changed
    """,
    "move": f"""
        with changed as (
          update item set id = id + 1000, stamp = nextval('stamp'), price = coalesce(%(price)s, price)
          where id between %(low)s and %(high)s returning *
        ) {_RECORD} 'item', 'update', jsonb_build_object('id', id - 1000), jsonb_build_object('id', id), stamp from changed
    """,
    "move back": f"""
        with changed as (
          update item set id = id - 1000, stamp = nextval('stamp'), price = coalesce(%(price)s, price)
          where id between %(low)s + 1000 and %(high)s + 1000 returning *
        ) {_RECORD} 'item', 'update', jsonb_build_object('id', id + 1000), jsonb_build_object('id', id), stamp from changed
    """,
    "delete": f"""
        with changed as (delete from item where id between %(low)s and %(high)s returning *)
        {_RECORD} 'item', 'delete', jsonb_build_object('id', id), null, stamp from changed
    """,
}

_STOCK_KEY = "jsonb_build_object('depot', depot, 'number', number)"

STOCK = {
    "insert": f"""
        with changed as (
          insert into stock select %(depot)s, n, nextval('stamp'), coalesce(%(price)s, 0), %(note)s
          from generate_series(%(low)s::int, %(high)s::int) as n on conflict do nothing returning *
        ) {_RECORD} 'stock', 'insert', {_STOCK_KEY}, null, stamp from changed
    """,
    "update": f"""
        with changed as (
          update stock set stamp = nextval('stamp'), price = coalesce(%(price)s, price), note = %(note)s
          where number between %(low)s and %(high)s and (depot = %(depot)s or %(depot)s = 0) returning *
        ) {_RECORD} 'stock', 'update', {_STOCK_KEY}, null, stamp from changed
    """,
    # From one partition to another, as often as the hash says so.
    "move": f"""
        with changed as (
          update stock set depot = (depot + 1) %% 4, stamp = nextval('stamp')
          where number between %(low)s and %(high)s and depot = %(depot)s returning *
        ) {_RECORD} 'stock', 'update', jsonb_build_object('depot', (depot + 3) %% 4, 'number', number), {_STOCK_KEY}, stamp
        from changed
    """,
    "delete": f"""
        with changed as (
          delete from stock where number between %(low)s and %(high)s and depot = %(depot)s returning *
        ) {_RECORD} 'stock', 'delete', {_STOCK_KEY}, null, stamp from changed
    """,
}


def create(connection: psycopg.Connection[Any]) -> None:
    """Make the tables, empty."""
    connection.execute(_TABLES)


def truncate(connection: psycopg.Connection[Any]) -> None:
    """Empty ``item``."""
    connection.execute("truncate item")
    connection.execute("insert into journal (source, operation) values ('item', 'truncate')")


def insert_item(connection: psycopg.Connection[Any], key: int, last: int | None = None) -> None:
    """Insert one item, or those up to a last one."""
    connection.execute(ITEM["insert"], {"low": key, "high": last or key, "price": key, "note": ""})
