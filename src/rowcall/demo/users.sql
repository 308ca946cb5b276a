-- The tables of the demo. Rowcall needs nothing in them: any table will do.
create table users (
  id integer generated always as identity primary key,
  name text not null,
  email text not null,
  age integer not null,
  visits integer not null default 0,
  password_hash text not null default md5(random()::text)
);

-- What log_user_update writes.
create table email_history (
  user_id integer not null,
  was text not null,
  became text not null
);

-- What keep_count writes: the seq of every event it was given.
create table handled (
  seq bigint primary key
);
