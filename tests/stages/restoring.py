"""A database dumped from one cluster and restored into another."""

import subprocess
from itertools import count

import psycopg
from psycopg import sql

from rowcall import embedded

_numbers = count(1)


def restored(server: embedded.Server, dsn: str, other: embedded.Server) -> str:
    """The DSN of a copy in another cluster, made as an administrator makes it: roles first, then the database."""
    name = f"restored_{next(_numbers)}"
    programs = server.bin_directory
    dump = subprocess.run([programs / "pg_dump", "--format=custom", dsn], capture_output=True, check=True).stdout
    with psycopg.connect(other.dsn(), autocommit=True) as administrator:
        for role in ("rowcall_capture", "rowcall_gate"):
            exists = administrator.execute("select from pg_roles where rolname = %s", (role,)).fetchone()
            if exists is None:
                administrator.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
        administrator.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    target = other.dsn(name)
    subprocess.run([programs / "pg_restore", "--exit-on-error", f"--dbname={target}"], input=dump, check=True)
    return target
