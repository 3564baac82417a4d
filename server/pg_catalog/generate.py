#!/usr/bin/env python3
"""Writes what never changes in pg_catalog and information_schema, as a PostgreSQL 15 of our own tells it.

    python3 server/pg_catalog/generate.py

- relations.csv: every relation with its columns, `name type` with `!` for NOT NULL.
- rows/*.csv: the rows that every PostgreSQL 15 has: types, functions, operators, casts, …
- keywords.csv: pg_get_keywords().

Left out, to stay small: relations about one machine (files, memory, WAL), row types of the catalog's own relations, access
methods' operators and support functions, text search, the operating system's locales, and the bodies of functions. A column
that is left out has its type's zero, or null where the catalog allows it.
"""
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "sqllogictest"))
from check_with_postgres import Databases  # noqa: E402

RELATIONS = """
SELECT n.nspname, c.relname, c.relkind, c.oid,
       string_agg(a.attname || ' ' || t.typname || CASE WHEN a.attnotnull THEN '!' ELSE '' END, ',' ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v')
  AND c.relname !~ '^pg_(stat_(bgwriter|wal|wal_receiver|archiver|slru|recovery_prefetch|gssapi|ssl)|statio?_(all|sys|xact).*|file_settings|hba_file_rules|ident_file_mappings|config|shmem_allocations|backend_memory_contexts|timezone_.*|stat_xact.*|replication_origin.*|largeobject.*|statistic|statistic_ext_data)$'
  AND c.relname !~ '^sql_(features|implementation_info|parts|sizing)$'
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
"""

# Row types of the catalog's own relations, and their arrays, are left out.
TYPES = """
SELECT oid, typname, typlen, typbyval, typtype, typcategory, typispreferred, typdelim, typsubscript, typelem, typarray, typinput, typoutput,
       typreceive, typsend, typmodin, typmodout, typalign, typstorage, typnotnull, typbasetype, typtypmod, typcollation, typnamespace
FROM pg_type t
WHERE oid < 16384 AND typtype <> 'c' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typtype = 'c' AND t.typcategory = 'A')
"""

ROWS = {
    "pg_type": TYPES,
    "pg_proc": """SELECT oid, proname, pronamespace, prolang, procost, prorows, provariadic, prokind, proleakproof, proisstrict, proretset,
        provolatile, proparallel, pronargs, pronargdefaults, prorettype, proargtypes, proallargtypes, proargmodes, proargnames,
        pg_get_expr(proargdefaults, 0) AS proargdefaults FROM pg_proc""",
    "pg_operator": """SELECT oid, oprname, oprkind, oprcanmerge, oprcanhash, oprleft, oprright, oprresult, oprcom, oprnegate, oprcode
        FROM pg_operator""",
    "pg_cast": "SELECT oid, castsource, casttarget, castfunc, castcontext, castmethod FROM pg_cast",
    "pg_am": "SELECT oid, amname, amhandler, amtype FROM pg_am",
    "pg_language": "SELECT oid, lanname, lanispl, lanpltrusted, lanplcallfoid, laninline, lanvalidator FROM pg_language WHERE lanname <> 'plpgsql'",
    "pg_collation": """SELECT oid, collname, collprovider, collisdeterministic, collencoding, collcollate, collctype FROM pg_collation
        WHERE collname IN ('default', 'C', 'POSIX', 'ucs_basic')""",
    "pg_opclass": """SELECT oid, opcmethod, opcname, opcfamily, opcintype, opcdefault, opckeytype FROM pg_opclass""",
    "pg_opfamily": "SELECT oid, opfmethod, opfname FROM pg_opfamily",
    "pg_aggregate": """SELECT aggfnoid::oid AS aggfnoid, aggkind, aggnumdirectargs, aggtransfn::oid AS aggtransfn, aggfinalfn::oid AS aggfinalfn,
        aggsortop, aggtranstype FROM pg_aggregate""",
    "pg_range": "SELECT rngtypid, rngsubtype, rngmultitypid, rngcollation, rngsubopc, rngcanonical::oid AS rngcanonical, rngsubdiff::oid AS rngsubdiff FROM pg_range",
    "pg_tablespace": "SELECT oid, spcname FROM pg_tablespace",
    "pg_description": """SELECT objoid, classoid, objsubid, description FROM pg_description
        WHERE classoid IN ('pg_type'::regclass, 'pg_operator'::regclass, 'pg_am'::regclass, 'pg_language'::regclass)
           OR classoid = 'pg_proc'::regclass AND description NOT LIKE 'implementation of%' AND description NOT LIKE 'I/O'
           OR classoid = 'pg_collation'::regclass AND objoid IN (100, 950, 951)""",
}

KEYWORDS = "SELECT word, catcode, barelabel, catdesc, baredesc FROM pg_get_keywords()"


def as_numbers(query):
    """Columns of regproc as the oids they are, so that the file reads like the table."""
    for column in ("typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typsubscript", "oprcode", "amhandler"):
        query = query.replace(f" {column},", f" {column}::oid AS {column},").replace(f" {column}\n", f" {column}::oid AS {column}\n")
    return query


def copy(cursor, query, path):
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        cursor.copy_expert(f"COPY (SELECT * FROM ({query}) AS q ORDER BY 1, 2) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')", file)


def main():
    folder = tempfile.mkdtemp(prefix="thalweg-pg-catalog-")
    databases = Databases(folder)
    try:
        cursor = databases.connect("postgres").cursor()
        copy(cursor, RELATIONS, HERE / "relations.csv")
        copy(cursor, KEYWORDS, HERE / "keywords.csv")
        for name, query in ROWS.items():
            copy(cursor, as_numbers(query), HERE / "rows" / f"{name}.csv")
    finally:
        databases.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
