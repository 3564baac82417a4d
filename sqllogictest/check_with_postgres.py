#!/usr/bin/env python3
"""Checks the corpus's answers against PostgreSQL: the same scripts, with streams as tables and materialized views as views.

    python3 sqllogictest/check_with_postgres.py [--fill] [file.slt …]

Starts a server of its own on a free port in a temporary folder (as the user postgres when run by root) and gives each file a
database. `--fill` writes the answer of each query whose file has none yet (a query that ends without `----`), for a person to
read over. A record under `onlyif thalweg` or `skipif postgres` is not run here: each says in a comment why.

What Postgres lacks is rewritten: WATERMARK FOR, WITH (…), TUMBLE/HOP/CUMULATE over a relation (as functions over date_bin),
WAIT FOR. Exit status 1 when an answer differs. A file that is not of the corpus, as `fuzz --write` makes them, is left where
PostgreSQL refuses a write since it checks keys row by row and not at the end of a statement.
"""
import argparse
import collections
import contextlib
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

try:
    import psycopg2
    import psycopg2.errorcodes
except ImportError:
    sys.exit("needs psycopg2: pip install psycopg2-binary")

CORPUS = pathlib.Path(__file__).parent / "corpus"
QUERY_KINDS = {16: "B", 20: "I", 21: "I", 23: "I", 700: "R", 701: "R", 1700: "R"}


# ---------------------------------------------------------------- records of a script
class Record:
    """One statement or query with the lines it came from."""

    def __init__(self, head, line, skipped):
        self.head, self.line, self.skipped = head.split(), line, skipped
        self.sql, self.expected, self.connection = [], None, "default"


def parse(path):
    """The lines of a file, and its records, each with (first, last) line for --fill."""
    lines = path.read_text().split("\n")
    records, index, skipped, connection = [], 0, False, "default"
    while index < len(lines):
        line = lines[index]
        words = line.split()
        if not words or line.startswith("#"):
            index += 1
            continue
        if words[0] in ("skipif", "onlyif"):
            skipped |= (words[0] == "skipif") == (words[1] == "postgres")
            index += 1
            continue
        if words[0] == "connection":
            connection = words[1]
            index += 1
            continue
        if words[0] not in ("statement", "query"):
            raise SystemExit(f"{path}:{index + 1}: unknown record {line!r}")
        record = Record(line, index, skipped)
        record.connection = connection
        index += 1
        while index < len(lines) and lines[index] not in ("", "----"):
            record.sql.append(lines[index])
            index += 1
        if index < len(lines) and lines[index] == "----":
            record.expected = []
            index += 1
            while index < len(lines) and lines[index] != "":
                record.expected.append(lines[index])
                index += 1
        record.end = index
        records.append(record)
        skipped, connection = False, "default"
    return lines, records


# ---------------------------------------------------------------- our SQL as Postgres's
WINDOW_FUNCTIONS = """
CREATE FUNCTION tumble_start(ts timestamp, size interval) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
$$ SELECT date_bin(size, ts, timestamp '1970-01-01') $$;
CREATE FUNCTION hop_starts(ts timestamp, slide interval, size interval) RETURNS SETOF timestamp LANGUAGE sql IMMUTABLE AS
$$ SELECT s FROM generate_series(date_bin(slide, ts, timestamp '1970-01-01') - size + slide,
                                 date_bin(slide, ts, timestamp '1970-01-01'), slide) AS s
   WHERE s <= ts AND ts < s + size $$;
"""


RELATION = r"(?:TABLE\s+)?(?P<table>[\w\"$]+)\s*,\s*(?:DESCRIPTOR\s*\(\s*(?P<described>\w+)\s*\)|(?P<column>\w+))"
INTERVAL = r"INTERVAL\s+'[^']*'(?:\s+(?:SECOND|MINUTE|HOUR|DAY)S?)?"
CLAUSES = "WHERE|GROUP|ORDER|JOIN|LEFT|RIGHT|FULL|INNER|CROSS|ON|LIMIT|UNION|HAVING|EMIT"
WINDOW = re.compile(
    rf"(?P<kind>TUMBLE|HOP|CUMULATE)\s*\(\s*{RELATION}\s*,\s*(?P<first>{INTERVAL})(?:\s*,\s*(?P<second>{INTERVAL}))?\s*\)"
    rf"(?P<alias>\s+(?:AS\s+)?(?!{CLAUSES})\w+)?",
    re.IGNORECASE,
)


def rewrite_windows(sql):
    """TUMBLE(t, ts, INTERVAL 's') and its sisters in FROM, in both spellings; a null time is in no window."""

    def subquery(match):
        table, ts, first, second = match["table"], match["described"] or match["column"], match["first"], match["second"]
        kind = match["kind"].upper()
        if kind == "TUMBLE":
            rows = (f"SELECT *, tumble_start({ts}, {first}) AS window_start, tumble_start({ts}, {first}) + {first} AS window_end"
                    f" FROM {table} WHERE {ts} IS NOT NULL")
        elif kind == "HOP":
            rows = (f"SELECT {table}.*, window_start, window_start + {second} AS window_end"
                    f" FROM {table}, hop_starts({ts}, {first}, {second}) AS window_start")
        else:
            start = f"tumble_start({ts}, {second})"
            rows = (f"SELECT {table}.*, {start} AS window_start, window_end"
                    f" FROM {table}, generate_series({start} + {first}, {start} + {second}, {first}) AS window_end WHERE {ts} < window_end")
        return f"({rows}){match['alias'] or ' AS windowed'}"

    return WINDOW.sub(subquery, sql)


def rewrite(sql):
    """The statement as Postgres takes it, or None when it has nothing to do there."""
    words = sql.upper().split()
    if words[:2] == ["WAIT", "FOR"]:
        return None
    flags = re.IGNORECASE | re.DOTALL
    sql = re.sub(r"^CREATE (STREAM|SOURCE)\b", "CREATE TABLE", sql, flags=flags)
    if re.match(r"CREATE TABLE", sql, flags):
        sql = re.sub(r",\s*WATERMARK FOR .*?(?=\n?\)\s*(WITH|;|$))", "", sql, flags=flags)
        sql = re.sub(r"\)\s*WITH\s*\([^)]*\)\s*;?\s*$", ")", sql, flags=flags)
    sql = re.sub(r"^CREATE OR REPLACE MATERIALIZED VIEW", "CREATE OR REPLACE VIEW", sql, flags=flags)
    sql = re.sub(r"^CREATE MATERIALIZED VIEW( IF NOT EXISTS)?", "CREATE VIEW", sql, flags=flags)
    sql = re.sub(r"^DROP MATERIALIZED VIEW", "DROP VIEW", sql, flags=flags)
    sql = re.sub(r"^DROP (STREAM|SOURCE)", "DROP TABLE", sql, flags=flags)
    sql = re.sub(r"^COMMENT ON (STREAM|SOURCE)", "COMMENT ON TABLE", sql, flags=flags)
    sql = re.sub(r"^COMMENT ON MATERIALIZED VIEW", "COMMENT ON VIEW", sql, flags=flags)
    return rewrite_windows(sql)


# ---------------------------------------------------------------- running
class Databases:
    """A PostgreSQL of our own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def command(self, *words):
        return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else list(words)

    def start(self):
        binary = lambda name: shutil.which(name) or f"/usr/lib/postgresql/15/bin/{name}"
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        data = f"{self.folder}/data"
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")
        subprocess.run(self.command(binary("initdb"), "-D", data, "-U", "postgres", "--locale=C", "-E", "UTF8", "-A", "trust"), check=True, **quiet)
        options = f"-p {self.port} -k {self.folder} -c fsync=off -c listen_addresses=127.0.0.1 -c timezone=UTC"
        self.pg_ctl = self.command(binary("pg_ctl"), "-D", data, "-w")
        subprocess.run([*self.pg_ctl, "-o", options, "-l", f"{self.folder}/log", "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def stop(self):
        subprocess.run([*self.pg_ctl, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, cwd="/")

    def connect(self, database):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database)
        connection.autocommit = True
        return connection

    def create(self, database):
        connection = self.connect("postgres")
        connection.cursor().execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        connection.close()


@contextlib.contextmanager
def own_postgres():
    """A PostgreSQL on a free port in a temporary folder, gone at the end."""
    folder = tempfile.mkdtemp(prefix="thalweg-postgres-")
    databases = Databases(folder)
    try:
        yield databases
    finally:
        databases.stop()
        shutil.rmtree(folder, ignore_errors=True)


def cell(value):
    return "NULL" if value is None else ("(empty)" if value == "" else value)


def normal(text):
    return " ".join(text.split())


def run_statement(cursor, sql):
    """(rows as text or None, type letters, rows affected)."""
    copy = re.match(r"\s*COPY\b", sql, re.IGNORECASE)
    if copy and re.search(r"FROM\s+STDIN", sql, re.IGNORECASE):
        statement, _, data = sql.partition(";\n")
        cursor.copy_expert(statement, io.StringIO(data.rstrip("\n") + "\n"))
        return None, "", cursor.rowcount
    if copy:
        out = io.StringIO()
        cursor.copy_expert(sql.rstrip("; \n"), out)
        return [[line] for line in out.getvalue().splitlines()], "T", 0
    cursor.execute(sql)
    if cursor.description is None:
        return None, "", cursor.rowcount
    letters = "".join(QUERY_KINDS.get(column.type_code, "T") for column in cursor.description)
    return [[cell(value) for value in row] for row in cursor.fetchall()], letters, cursor.rowcount


# Values stay the text that the server sent: psycopg2 would make Python values of them.
def keep_text():
    oids = (16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 199, 700, 701, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022,
            1028, 1042, 1043, 1082, 1083, 1114, 1115, 1182, 1183, 1184, 1185, 1186, 1187, 1231, 1700, 2249, 2287, 2950, 2951, 3802, 3807)
    psycopg2.extensions.register_type(psycopg2.extensions.new_type(oids, "TEXT", lambda value, cursor: value))


def differences(got, expected):
    """Rows that one side alone has; all of them when just their order differs."""
    only = lambda rows, others: list((collections.Counter(map(normal, rows)) - collections.Counter(map(normal, others))).elements())
    show = lambda rows: "".join(f"\n      {row}" for row in rows)
    more, fewer = only(got, expected), only(expected, got)
    if not more and not fewer:
        more, fewer = got, expected
    return f"Postgres answers{show(more)}\n    the file says{show(fewer)}"


def check(databases, path, fill):
    """Runs one file; the differences found, and the lines with answers filled in."""
    lines, records = parse(path)
    database = re.sub(r"\W", "_", str(path.relative_to(CORPUS))) if path.is_relative_to(CORPUS) else path.stem
    databases.create(database)
    connections, problems, answers, n_run = {}, [], {}, 0

    def cursor_of(name):
        if name not in connections:
            connections[name] = databases.connect(database)
            connections[name].cursor().execute("SET client_min_messages = error")
        return connections[name].cursor()

    cursor_of("default").execute(WINDOW_FUNCTIONS)
    for record in records:
        if record.skipped:
            continue
        sql = rewrite("\n".join(record.sql))
        if sql is None:
            continue
        n_run += 1
        place = f"{path}:{record.line + 1}"
        wants_error = "error" in record.head[1:2]
        try:
            rows, letters, count = run_statement(cursor_of(record.connection), sql)
        except psycopg2.Error as error:
            sqlstate = re.fullmatch(r"\((\w{5})\)", record.head[2]) if wants_error and len(record.head) > 2 else None
            is_random = not path.is_relative_to(CORPUS)
            if is_random and error.pgcode == psycopg2.errorcodes.UNIQUE_VIOLATION and not wants_error:
                print(f"{place}: the rest is left, since PostgreSQL checks keys row by row: {str(error).strip()}")
                break
            if not wants_error:
                problems.append(f"{place}: Postgres fails: {str(error).strip()}\n    {sql}")
            elif sqlstate and sqlstate.group(1) != error.pgcode:
                problems.append(f"{place}: Postgres says {error.pgcode}, the file {sqlstate.group(1)}: {str(error).strip()}")
            continue
        if wants_error:
            problems.append(f"{place}: Postgres does not fail")
        elif record.head[0] == "statement":
            if record.head[1] == "count" and int(record.head[2]) != count:
                problems.append(f"{place}: Postgres counts {count}, the file {record.head[2]}")
        else:
            got = [" ".join(row) for row in rows or []]
            if "rowsort" in record.head:
                got.sort()
            if record.expected is None and fill:
                answers[record.line] = (record, letters, got)
            elif [normal(row) for row in got] != [normal(row) for row in record.expected or []]:
                problems.append(f"{place}: {differences(got, record.expected or [])}")
    for connection in connections.values():
        connection.close()
    for record, letters, got in sorted(answers.values(), key=lambda answer: -answer[0].line):
        head = record.head
        if len(head) < 2 or head[1] in ("rowsort", "nosort"):
            head.insert(1, letters)
        lines[record.line] = " ".join(head)
        lines[record.end:record.end] = ["----", *got]
    return problems, lines if answers else None, n_run


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fill", action="store_true", help="write the answers of queries that have none")
    options.add_argument("files", nargs="*", type=pathlib.Path)
    options = options.parse_args()
    files = options.files or sorted(CORPUS.rglob("*.slt"))
    keep_text()
    n_problems = n_records = 0
    with own_postgres() as databases:
        for path in files:
            path = path.resolve()
            problems, filled, n_run = check(databases, path, options.fill)
            n_records += n_run
            if filled:
                path.write_text("\n".join(filled))
            n_problems += len(problems)
            for problem in problems:
                print(problem)
    print(f"{len(files)} files, {n_records} records run by PostgreSQL, {n_problems} differences")
    sys.exit(1 if n_problems else 0)


if __name__ == "__main__":
    main()
