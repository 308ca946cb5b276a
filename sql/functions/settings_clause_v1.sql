-- The SET clauses that make an image independent of the writer's session, only those its types need: each costs
-- about half a microsecond a row. A type that somebody defined may contain anything, so it takes them all; so does code that
-- is made for the columns of the moment when it runs (every).
-- Called by: the generator.
create function rowcall.settings_clause_v1(table_oid oid, options jsonb, every boolean default false) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive types as (
    -- Of arrays the exact text may be noted, of what is redacted its hash.
    select type_oid as oid, redacted or rowcall.element_type_v1(type_oid) is not null as printed
    from rowcall.columns_v1(table_oid, options)
    union
    select coalesce(nullif(t.typbasetype, 0), r.rngsubtype, m.rngsubtype, nullif(t.typelem, 0)), types.printed
    from types
    join pg_type as t on t.oid = types.oid
    left join pg_range as r on r.rngtypid = t.oid
    left join pg_range as m on m.rngmultitypid = t.oid
    where coalesce(nullif(t.typbasetype, 0), r.rngsubtype, m.rngsubtype, nullif(t.typelem, 0)) is not null
  ), needs as (
    select array_agg(t.typname::text) as names,
      every or bool_or(t.oid >= 16384 and t.typtype not in ('d', 'e') and t.typcategory <> 'A') as opaque,
      -- Names of objects print with more or fewer quotes: regclass and its kin.
      bool_or(t.typname like 'reg%' and t.typinput::text = t.typname || 'in') as named,
      -- Dates by themselves have a form of JSON's own.
      bool_or(types.printed and t.typname = any ('{date,timestamp,timestamptz}')) as dated
    from types join pg_type as t on t.oid = types.oid
  )
  select 'set search_path = pg_catalog, pg_temp'
    || case when opaque or names && '{timestamptz,timetz}' then ' set timezone = ''UTC''' else '' end
    || case when opaque or dated or names && '{date,timestamp,timestamptz}' and names && '{daterange,tsrange,tstzrange,datemultirange,tsmultirange,tstzmultirange}'
         then ' set datestyle = ''ISO, MDY''' else '' end
    || case when opaque or 'interval' = any (names) then ' set intervalstyle = ''postgres''' else '' end
    || case when opaque or 'bytea' = any (names) then ' set bytea_output = ''hex''' else '' end
    || case when opaque or names && '{float4,float8,point,line,lseg,box,path,polygon,circle}'
         then ' set extra_float_digits = ''1''' else '' end
    || case when opaque or 'money' = any (names) then ' set lc_monetary = ''C''' else '' end
    || case when opaque or named then ' set quote_all_identifiers = off' else '' end
    -- Read by the input of arrays, by which an array of a user's type becomes one of texts.
    || case when every or exists (select from rowcall.columns_v1(table_oid, options) where encoding = 'texts')
         then ' set array_nulls = on' else '' end
  from needs
$$;
