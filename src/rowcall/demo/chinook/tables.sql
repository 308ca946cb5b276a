-- The Chinook music shop. Leaving customers take their invoices with them, and playlists their entries, by cascade.
create table artist (
  artist_id integer primary key,
  name varchar(120)
);

create table genre (
  genre_id integer primary key,
  name varchar(120)
);

create table media_type (
  media_type_id integer primary key,
  name varchar(120)
);

create table playlist (
  playlist_id integer primary key,
  name varchar(120)
);

create table employee (
  employee_id integer primary key,
  last_name varchar(20) not null,
  first_name varchar(20) not null,
  title varchar(30),
  reports_to integer references employee,
  birth_date timestamp,
  hire_date timestamp,
  address varchar(70),
  city varchar(40),
  state varchar(40),
  country varchar(40),
  postal_code varchar(10),
  phone varchar(24),
  fax varchar(24),
  email varchar(60)
);

create table customer (
  customer_id integer primary key,
  first_name varchar(40) not null,
  last_name varchar(20) not null,
  company varchar(80),
  address varchar(70),
  city varchar(40),
  state varchar(40),
  country varchar(40),
  postal_code varchar(10),
  phone varchar(24),
  fax varchar(24),
  email varchar(60) not null,
  support_rep_id integer references employee
);

create table album (
  album_id integer primary key,
  title varchar(160) not null,
  artist_id integer not null references artist
);

create table track (
  track_id integer primary key,
  name varchar(200) not null,
  album_id integer references album,
  media_type_id integer not null references media_type,
  genre_id integer references genre,
  composer varchar(220),
  milliseconds integer not null,
  bytes integer,
  unit_price numeric(10, 2) not null
);
create index on track (album_id);

create table invoice (
  invoice_id integer primary key,
  customer_id integer not null references customer on delete cascade,
  invoice_date timestamp not null,
  billing_address varchar(70),
  billing_city varchar(40),
  billing_state varchar(40),
  billing_country varchar(40),
  billing_postal_code varchar(10),
  total numeric(10, 2) not null
);
create index on invoice (customer_id);

create table invoice_line (
  invoice_line_id integer primary key,
  invoice_id integer not null references invoice on delete cascade,
  track_id integer not null references track,
  unit_price numeric(10, 2) not null,
  quantity integer not null
);
create index on invoice_line (invoice_id);

create table playlist_track (
  playlist_id integer not null references playlist on delete cascade,
  track_id integer not null references track,
  primary key (playlist_id, track_id)
);

-- What keep_revenue keeps.
create table revenue (
  country text primary key,
  amount numeric not null
);

-- What it has to remember for that: each invoice's country, null while the invoice is not there, and the sum of its lines.
create table sale (
  invoice_id integer primary key,
  country text,
  amount numeric not null default 0
);

-- What keep_tally keeps.
create table tally (
  table_name text,
  operation text,
  events bigint not null,
  primary key (table_name, operation)
);
