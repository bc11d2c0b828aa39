-- What a database says that it is, one row a fact: (place, what, definition). Asked by `verify` of the log, by
-- `verify --projections` of the read side. Catalogs only, which everybody may read; names are spelled whole because the
-- search path is empty. The usual makes no row: row security that is off, an owner that owns the rest.

-- name: of_schemas
-- The objects in `schemas`, and the table of `migrate`, which stands in a schema that is not ours alone.
WITH ours AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s)
), relation AS (
    SELECT c.*, format('%%I.%%I', n.nspname, c.relname) AS place
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND (n.oid IN (SELECT oid FROM ours)
           OR 'ledger' = ANY (%(schemas)s) AND (n.nspname, c.relname) = ('public', 'ledger_migrations'))
), function AS (
    SELECT p.*, p.oid::regprocedure::text AS place
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace IN (SELECT oid FROM ours)
), owned AS (
    SELECT format('schema %%I', nspname) AS place, nspowner AS owner, 'n'::"char" AS kind, nspacl AS acl FROM ours
    UNION ALL SELECT place, relowner, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relacl FROM relation
    UNION ALL SELECT place, proowner, 'f', proacl FROM function
), stored AS ( -- what was parsed when it was made
    SELECT place, 'pg_catalog.pg_rewrite'::regclass AS catalog, r.oid
    FROM relation JOIN pg_catalog.pg_rewrite AS r ON ev_class = relation.oid
    UNION ALL SELECT place, 'pg_catalog.pg_attrdef'::regclass, d.oid
    FROM relation JOIN pg_catalog.pg_attrdef AS d ON adrelid = relation.oid
    UNION ALL SELECT place, 'pg_catalog.pg_constraint'::regclass, k.oid
    FROM relation JOIN pg_catalog.pg_constraint AS k ON conrelid = relation.oid
    UNION ALL SELECT place, 'pg_catalog.pg_class'::regclass, indexrelid
    FROM relation JOIN pg_catalog.pg_index ON indrelid = relation.oid
    UNION ALL SELECT place, 'pg_catalog.pg_policy'::regclass, p.oid
    FROM relation JOIN pg_catalog.pg_policy AS p ON polrelid = relation.oid
    UNION ALL SELECT place, 'pg_catalog.pg_proc'::regclass, oid FROM function
), granted AS (
    SELECT place, owner, '' AS on_column, g.* FROM owned, aclexplode(coalesce(acl, acldefault(kind, owner))) AS g
    UNION ALL
    SELECT place, relowner, format(' (%%I)', attname), g.*
    FROM relation JOIN pg_catalog.pg_attribute AS a ON attrelid = relation.oid AND attacl IS NOT NULL,
         aclexplode(attacl) AS g
)
SELECT CASE WHEN classid = 'pg_catalog.pg_proc'::regclass THEN objid::regprocedure::text ELSE identity END AS place,
       'kind' AS what, type AS definition
FROM pg_catalog.pg_depend, pg_identify_object(classid, objid, 0)
WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid IN (SELECT oid FROM ours)
  AND classid <> 'pg_catalog.pg_publication_namespace'::regclass
UNION ALL
SELECT place, 'kind', 'table' FROM relation WHERE relnamespace NOT IN (SELECT oid FROM ours)
UNION ALL
SELECT format('schema %%I', nspname), 'kind', 'schema' FROM ours
UNION ALL
SELECT place, 'persistence', relpersistence::text FROM relation WHERE relpersistence <> 'p'
UNION ALL
SELECT place, 'options', array_to_string(reloptions, ', ')
FROM relation WHERE relkind IN ('v', 'm') AND reloptions <> '{}'
UNION ALL
SELECT place, 'owner', pg_get_userbyid(owner)
FROM owned WHERE pg_get_userbyid(owner) <> %(owner)s OR pg_get_userbyid(owner) = ANY (%(roles)s)
UNION ALL
SELECT place, format('grant of %%s%%s to %%s', privilege_type, on_column, coalesce(r.rolname, 'PUBLIC')),
       CASE WHEN bool_or(is_grantable) THEN 'with grant option' ELSE 'granted' END
FROM granted LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = grantee
WHERE grantee <> owner
GROUP BY 1, 2
UNION ALL
SELECT place, format('column %%I', attname),
       concat_ws(' ', row_number() OVER (PARTITION BY attrelid ORDER BY attnum) || '.',
                 format_type(atttypid, atttypmod),
                 CASE WHEN attcollation <> typcollation THEN format('COLLATE %%s', attcollation::regcollation) END,
                 CASE WHEN attnotnull THEN 'NOT NULL' END,
                 CASE WHEN EXISTS (
                     SELECT FROM pg_catalog.pg_constraint
                     WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated
                 ) THEN 'NOT VALID' END,
                 CASE attgenerated WHEN '' THEN 'DEFAULT ' ELSE format('GENERATED %%s ', attgenerated) END
                     || pg_get_expr(adbin, adrelid),
                 CASE WHEN attidentity <> '' THEN format('IDENTITY %%s', attidentity) END,
                 CASE WHEN attstorage <> typstorage THEN format('STORAGE %%s', attstorage) END)
FROM relation
JOIN pg_catalog.pg_attribute AS a ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
JOIN pg_catalog.pg_type AS t ON t.oid = atttypid
LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT place, format('constraint %%I', conname), pg_get_constraintdef(k.oid)
FROM relation JOIN pg_catalog.pg_constraint AS k ON conrelid = relation.oid AND contype <> 'n' -- said by the column
UNION ALL
SELECT place, format('index %%s', indexrelid::regclass),
       pg_get_indexdef(indexrelid) || CASE WHEN NOT indisvalid THEN ', invalid' ELSE '' END
           || CASE WHEN NOT indisready THEN ', not written to' ELSE '' END
           || CASE WHEN NOT indislive THEN ', being dropped' ELSE '' END
FROM relation JOIN pg_catalog.pg_index ON indrelid = relation.oid
UNION ALL
SELECT place, format('trigger %%I', tgname),
       CASE tgenabled WHEN 'O' THEN '' WHEN 'D' THEN 'disabled: ' ELSE format('%%s: ', tgenabled) END
       || pg_get_triggerdef(t.oid)
FROM relation JOIN pg_catalog.pg_trigger AS t ON tgrelid = relation.oid AND NOT tgisinternal
UNION ALL
SELECT place, CASE WHEN rulename = '_RETURN' THEN 'query' ELSE format('rule %%I', rulename) END,
       CASE ev_enabled WHEN 'O' THEN '' ELSE format('%%s: ', ev_enabled) END || pg_get_ruledef(r.oid)
FROM relation JOIN pg_catalog.pg_rewrite AS r ON ev_class = relation.oid
UNION ALL
SELECT place, 'row security', CASE WHEN relforcerowsecurity THEN 'forced' ELSE 'enabled' END FROM relation
WHERE relrowsecurity OR relforcerowsecurity
UNION ALL
SELECT place, format('policy %%I', polname),
       concat_ws(' ', CASE WHEN polpermissive THEN 'permissive' ELSE 'restrictive' END, polcmd, polroles::regrole[],
                 'USING ' || pg_get_expr(polqual, polrelid), 'WITH CHECK ' || pg_get_expr(polwithcheck, polrelid))
FROM relation JOIN pg_catalog.pg_policy ON polrelid = relation.oid
UNION ALL
SELECT inhparent::regclass::text, format('child %%s', inhrelid::regclass), 'its rows are read as rows of the parent'
FROM pg_catalog.pg_inherits WHERE inhparent IN (SELECT oid FROM relation)
UNION ALL
SELECT place, format('parent %%s', inhparent::regclass), 'who may change the parent''s rows changes these, past triggers'
FROM pg_catalog.pg_inherits JOIN relation ON inhrelid = relation.oid
UNION ALL
-- The text of a query or an expression says of a cast its types, of CASE, IN and DISTINCT nothing: not what they call.
SELECT DISTINCT place, format('call of %%s', refobjid::regprocedure), 'function'
FROM stored JOIN pg_catalog.pg_depend ON classid = catalog AND objid = stored.oid
WHERE refclassid = 'pg_catalog.pg_proc'::regclass
UNION ALL
SELECT DISTINCT place, format('call of %%s', refobjid::regoperator), 'operator'
FROM stored JOIN pg_catalog.pg_depend ON classid = catalog AND objid = stored.oid
WHERE refclassid = 'pg_catalog.pg_operator'::regclass
UNION ALL
SELECT place, concat_ws(' ', 'comment', attname), description -- what readers are told that it means
FROM (
    SELECT 'pg_catalog.pg_class'::regclass AS catalog, oid, place FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, oid, place FROM function
) AS told
JOIN pg_catalog.pg_description ON (classoid, objoid) = (catalog, oid)
LEFT JOIN pg_catalog.pg_attribute ON attrelid = told.oid AND attnum = objsubid AND objsubid > 0
UNION ALL
SELECT place, 'body', to_json(pg_get_functiondef(oid))::text FROM function WHERE prokind <> 'a'
ORDER BY 1, 2, 3;

-- name: around
-- What decides over all schemas how statements are carried out, and what the services' roles may beyond their grants.
WITH role AS (
    SELECT * FROM pg_catalog.pg_roles WHERE rolname = ANY (%(roles)s)
), database AS (
    SELECT * FROM pg_catalog.pg_database WHERE datname = current_database()
)
SELECT 'database' AS place, format('event trigger %%I', evtname) AS what,
       concat_ws(' ', evtevent, evtfoid::regprocedure, evtenabled) AS definition
FROM pg_catalog.pg_event_trigger AS e
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_event_trigger'::regclass AND objid = e.oid AND deptype = 'e' -- an extension's own
      AND refobjid >= 16384 AND evtevent <> 'login' -- plpgsql has none, and none has a reason to run at every login
)
UNION ALL
SELECT 'database', format('cast (%%s AS %%s)', castsource::regtype, casttarget::regtype),
       CASE castmethod WHEN 'f' THEN castfunc::regprocedure::text ELSE 'without a function' END
FROM pg_catalog.pg_cast
WHERE oid >= 16384 AND castsource < 16384 AND casttarget < 16384 -- the first number that is not PostgreSQL's own
UNION ALL
SELECT 'database', format('function %%s', oid::regprocedure), 'taken for one of PostgreSQL''s own of that name'
FROM pg_catalog.pg_proc AS p
WHERE oid >= 16384 AND pronamespace = 'pg_catalog'::regnamespace
  AND EXISTS (SELECT FROM pg_catalog.pg_proc AS own
              WHERE own.oid < 16384 AND (own.proname, own.pronamespace) = (p.proname, p.pronamespace))
UNION ALL
-- What is changed has its row written anew; as the server was made, those below 12000 were written before the others.
-- Functions that PostgreSQL itself keeps from some (pg_init_privs) are left out: rights on them are given with good reason.
SELECT DISTINCT 'database', what, 'PostgreSQL''s own, changed by somebody'
FROM (
    SELECT tableoid, oid, xmin, format('function %%s', oid::regprocedure) AS what FROM pg_catalog.pg_proc
    UNION ALL
    SELECT tableoid, oid, xmin, format('type %%s', oid::regtype) FROM pg_catalog.pg_type
    UNION ALL
    SELECT tableoid, oid, xmin, format('operator %%s', oid::regoperator) FROM pg_catalog.pg_operator
    UNION ALL
    SELECT tableoid, aggfnoid, xmin, format('function %%s', aggfnoid::regprocedure) FROM pg_catalog.pg_aggregate
    UNION ALL
    SELECT tableoid, oid, xmin, format('cast (%%s AS %%s)', castsource::regtype, casttarget::regtype) FROM pg_catalog.pg_cast
    UNION ALL
    SELECT tableoid, oid, xmin, format('comparison %%s', amproc::regprocedure) FROM pg_catalog.pg_amproc
) AS own
WHERE oid < 12000
  AND xmin::text::bigint > (SELECT min(xmin::text::bigint) FROM pg_catalog.pg_proc WHERE oid >= 12000 AND oid < 16384)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs WHERE (classoid, objoid) = (own.tableoid, own.oid))
UNION ALL
SELECT 'database', format('operator %%s', oid::regoperator), 'taken for one of PostgreSQL''s own of that name'
FROM pg_catalog.pg_operator AS o
WHERE oid >= 16384 AND oprnamespace = 'pg_catalog'::regnamespace
  AND EXISTS (SELECT FROM pg_catalog.pg_operator AS own
              WHERE own.oid < 16384 AND (own.oprname, own.oprnamespace) = (o.oprname, o.oprnamespace))
UNION ALL
SELECT 'database', format('grant of CREATE to %%s', coalesce(rolname, 'PUBLIC')), 'granted'
FROM database, aclexplode(datacl) AS g LEFT JOIN role ON role.oid = grantee
WHERE privilege_type = 'CREATE' AND (grantee = 0 OR role.oid IS NOT NULL)
UNION ALL
SELECT 'database',
       format('default grant of %%s on %%s to %%s', privilege_type, defaclobjtype, coalesce(rolname, 'PUBLIC')), 'granted'
FROM pg_catalog.pg_default_acl, aclexplode(defaclacl) AS g LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = grantee
WHERE defaclnamespace = 0 AND pg_get_userbyid(defaclrole) = %(owner)s AND grantee <> defaclrole
  AND NOT (grantee = 0 AND defaclobjtype IN ('f', 'T')) -- as PostgreSQL itself gives
UNION ALL
SELECT coalesce('role ' || rolname, 'database'), format('setting %%s', split_part(setting, '=', 1)), setting
FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN unnest(setconfig) AS setting
LEFT JOIN pg_catalog.pg_roles AS u ON u.oid = setrole
WHERE (lower(setting) ~ '^synchronous_commit=(off|false|no|0|local)$' OR split_part(setting, '=', 1) IN
       ('search_path', 'session_replication_role', 'session_preload_libraries', 'local_preload_libraries'))
  AND setdatabase IN (0, (SELECT oid FROM database))
  AND (setrole = 0 OR NOT rolsuper AND EXISTS (SELECT FROM role WHERE pg_has_role(setrole, role.oid, 'MEMBER')))
UNION ALL
SELECT 'role ' || rolname, 'is there', 'yes' FROM role
UNION ALL
SELECT 'role ' || rolname, 'attribute ' || attribute, 'yes'
FROM role, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls), ('CREATEROLE', rolcreaterole),
                           ('CREATEDB', rolcreatedb), ('REPLICATION', rolreplication)) AS a (attribute, has)
WHERE has
UNION ALL
SELECT 'role ' || rolname, format('member of %%s', roleid::regrole), 'yes'
FROM role JOIN pg_catalog.pg_auth_members ON member = role.oid
UNION ALL
SELECT 'role ' || rolname, 'member of pg_write_all_data', 'yes'
FROM pg_catalog.pg_roles AS r
WHERE rolname <> 'pg_write_all_data' AND NOT rolsuper AND pg_has_role(oid, 'pg_write_all_data', 'MEMBER')
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_roles AS o
      WHERE o.rolname = %(owner)s AND NOT o.rolsuper AND pg_has_role(o.oid, r.oid, 'MEMBER') -- what the owner has as well
  )
UNION ALL
SELECT 'server', format('grant of %%s on %%s to %%s', privilege_type, parname, coalesce(rolname, 'PUBLIC')), 'granted'
FROM pg_catalog.pg_parameter_acl, aclexplode(paracl) AS g LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = grantee
WHERE parname = 'session_replication_role' AND NOT coalesce(rolsuper, false)
UNION ALL
SELECT 'server', format('setting %%s', name), setting
FROM pg_catalog.pg_settings
WHERE (name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting IN ('off', 'local')
       OR name = 'session_replication_role' AND setting = 'replica')
  AND source NOT IN ('database', 'user', 'database user') -- which are named above
UNION ALL
SELECT 'server', 'setting search_path', reset_val -- what it is now, was set by whoever asks this
FROM pg_catalog.pg_settings
WHERE name = 'search_path' AND reset_val <> boot_val
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
      WHERE split_part(setting, '=', 1) = 'search_path' AND setdatabase IN (0, (SELECT oid FROM database))
        AND (setrole = 0 OR setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
  )
ORDER BY 1, 2, 3;
