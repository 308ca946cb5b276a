-- Seals over the log, written by the listener outside the writers' transactions: what is altered once it is sealed is found. What
-- is hashed, and how, stands in src/rowcall/audit/SEALS.md.
-- Each covers the events that "upper" sees and "lower" does not, in seq order, those after "after_seq": the newest seal is
-- the cursor of whoever seals next, so a seal and the place it leads to commit together.
--   epoch  the installation's, see tables/installation_v1.sql. Where "lower" is "upper", these are events that a dump brought.
--   complete  whether the window ends here
--   root  of the Merkle tree over the events' leaves
--   erasures, erasure_head  the newest record of rowcall.erasure at that time
--   catalog  the names and layouts of relations that no earlier seal has; relations  root of the Merkle tree over all names
--   xid  the transaction that wrote the seal: begun when "upper" had been taken
--   previous, head  of the chain: hashes of the seal before, and of this one
--   key_id, signature  Ed25519 over the head, if the sealer has a key
create table rowcall.seal (
  number bigint primary key,
  epoch integer not null,
  lower pg_snapshot not null,
  upper pg_snapshot not null,
  after_seq bigint not null,
  complete boolean not null,
  events integer not null,
  first_seq bigint,
  last_seq bigint,
  root bytea not null,
  erasures bigint not null,
  erasure_head bytea not null,
  catalog text,
  relations bytea not null,
  xid xid8 not null,
  previous bytea not null unique,
  head bytea not null,
  sealed_at timestamptz not null,
  key_id text,
  signature bytea
);
-- Leads from an event to its seal.
create index seal_range on rowcall.seal using gist (int8range(first_seq, last_seq, '[]')) where events > 0;

-- What a seal's tree is over, so that an altered event has a name: its events' places, and their leaves' hashes, 32 bytes each.
create table rowcall.leaf (
  seal bigint primary key,
  seqs bigint[] not null,
  hashes bytea not null
);
-- Hashes do not compress.
alter table rowcall.leaf alter column hashes set storage external;

-- The secrets of commitments, 16 random bytes for each event of a seal: without its own, nobody can tell what an event's
-- commitments stand for. An erasure overwrites it with zeros.
create table rowcall.salt (
  seal bigint primary key,
  salts bytea not null
);
alter table rowcall.salt alter column salts set storage external;

-- What was taken out of the log, and by whom: chained as seals are, and named by them. Without the values.
--   kind  "erase" where seals prove what remains, "forgo" where nothing of those events is proven any more, "prune" where
--         they are gone
--   paths  which values, each with the events that lost it
--   seqs  which events
--   xid  the transaction, in which alone these events may be altered: see refuse_alteration_v1
create table rowcall.erasure (
  number bigint primary key,
  kind text not null check (kind in ('erase', 'forgo', 'prune')),
  at timestamptz not null,
  erased_by text not null,
  xid xid8 not null,
  relation integer references rowcall.relation,
  paths jsonb not null,
  seqs int8multirange not null,
  events bigint not null,
  previous bytea not null unique,
  head bytea not null
);

-- In place of an event's salt, once something of it is erased: of each value its commitment, or its own salt if it is still there.
--   path  as in the canonical bytes, such as "new.email"; "*" stands for the leaf of an event of which nothing is proven any more
create table rowcall.erased (
  seq bigint not null,
  path text not null,
  erasure bigint not null references rowcall.erasure,
  commitment bytea,
  salt bytea,
  primary key (seq, path),
  check (num_nonnulls(commitment, salt) = 1)
);
