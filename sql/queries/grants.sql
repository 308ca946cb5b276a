-- Who may read the log, see functions/grant_v1.sql.

-- name: grant
select rowcall.grant_v1(%(kind)s, %(role)s, %(may)s);
