"""What is in a database and its cluster, as text to compare."""

import subprocess
from typing import Any

import psycopg

from rowcall import embedded

_CLUSTER = """
select 'role', r.rolname::text, coalesce(shobj_description(r.oid, 'pg_authid'), ''), rolcanlogin::text
from pg_roles as r where r.rolname !~ '^pg_' and r.rolname <> 'postgres'
union all
select 'membership', roleid::regrole::text, member::regrole::text, '' from pg_auth_members
where roleid::regrole::text like 'rowcall%'
order by 1, 2, 3
"""


def picture(server: embedded.Server, dsn: str) -> list[str]:
    """The schema of a database as pg_dump prints it, and the cluster's roles."""
    program = server.bin_directory / "pg_dump"
    dumped = subprocess.run([program, "--schema-only", dsn], capture_output=True, text=True, check=True)
    kept = [
        line
        for line in dumped.stdout.splitlines()
        # Every dump has a random token of its own.
        if line and not line.startswith(("--", "\\restrict", "\\unrestrict", "\\connect"))
    ]
    return kept + roles(dsn)


def roles(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [" ".join(row) for row in connection.execute(_CLUSTER).fetchall()]


def value(dsn: str, query: str, *parameters: Any) -> Any:
    """The first value of a query's first row, over a connection of its own."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]
