"""`rowcall demo`: the whole story on a PostgreSQL of its own."""
