#!/usr/bin/env python3
"""Runs random SELECTs on a Thalweg server and on PostgreSQL, over the same small tables, and compares the rows.

    python3 sqllogictest/random_with_postgres.py --server HOST:PORT [--seed N] [--seconds N] [--queries N]

`./x fuzz` compares the database with itself and gives every relation and column a name of its own, so it cannot see what the
planner gets wrong about names and scopes, nor what both engines get wrong. Here few names are used for everything: tables,
aliases, columns and outputs collide and shadow each other wherever SQL gives that a meaning. PostgreSQL, started as by
check_with_postgres.py, says what it is.

The server must be there to play with: tables named t, u, v, w and z are dropped and made anew (user and database `thalweg`).
A seed decides a query; the first is --seed, and each query takes the next. A query is read once and once more as a materialized
view, and both must have PostgreSQL's rows as a multiset, in its order too where ORDER BY has all columns. A difference is printed
at once with the seed, its kind, the query made smaller, and the answers:

    rows of the read, rows of the view, order of the read     both answer, but not the same
    only the read fails, only the view fails                  with SQLSTATE and message; PostgreSQL answers

The last lines count the queries, what Thalweg refuses with 0A000 or has not answered after ten seconds, what PostgreSQL alone
refuses ("accepted alone": to look over, since most is more than PostgreSQL has), and the differences by kind, each with the
first seed. Exit status 1 when an answer differs.

Not made, since SQL leaves them open: ties at LIMIT and in frames of ROWS, order in string_agg() and array_agg(). Doubles and
numerics are compared to nine digits. Not made either, since they are known to differ:

    a WITH inside of a WITH of the same name      whole rows: SELECT t FROM t, t IS NULL, count(t)
    grouping() beside window functions            g.n where g is an alias and a column that can be seen
    a column alias twice: t AS q(a, a)            generate_series(NULL, 2)
"""
import argparse
import collections
import dataclasses
import decimal
import re
import sys
import time

import psycopg2

from check_with_postgres import keep_text, own_postgres
from random_selects import COLUMN_TYPES, LITERALS, ROWS, TABLES, Generator, Sql


# ---------------------------------------------------------------- running and comparing
TIMEOUT = "57014"
NO_ANSWER = ("0A000", TIMEOUT)  # counted, but no difference
NUMBER_OIDS = (20, 21, 23, 700, 701, 1700)
NINE_DIGITS = decimal.Context(prec=9)


@dataclasses.dataclass
class Answer:
    """Rows, or the error's SQLSTATE and first line."""
    rows: list = None
    n_columns: int = 0
    sqlstate: str = None
    message: str = ""

    def __str__(self):
        if self.sqlstate:
            return f"{self.sqlstate} {self.message}"
        rows = ["(" + ", ".join("NULL" if value is None else value for value in row) + ")" for row in self.rows]
        return f"{len(rows)} rows: {' '.join(rows[:10])}{' …' if len(rows) > 10 else ''}"


def comparable(value, oid):
    """A number without what it leaves open: last digits, trailing zeros, the sign of zero."""
    if value is None or oid not in NUMBER_OIDS:
        return value
    number = NINE_DIGITS.create_decimal(value).normalize(NINE_DIGITS)
    return f"{number:f}" if number else "0"


class Server:
    """A connection that is made anew when it is lost."""

    def __init__(self, **address):
        self.address = address
        self.connect()

    def connect(self):
        self.connection = psycopg2.connect(**self.address)
        self.connection.autocommit = True
        self.run("SET statement_timeout = '10s'")

    def run(self, sql):
        try:
            cursor = self.connection.cursor()
            cursor.execute(sql)
            if cursor.description is None:
                return Answer([])
            oids = [column.type_code for column in cursor.description]
            return Answer([tuple(map(comparable, row, oids)) for row in cursor.fetchall()], len(oids))
        except psycopg2.Error as error:
            if self.connection.closed:
                self.connect()
            return Answer(sqlstate=error.pgcode or "08006", message=str(error).partition("\n")[0])

    def make_tables(self):
        for name, columns in TABLES.items():
            self.run(f"DROP TABLE IF EXISTS {name} CASCADE")
            definitions = ", ".join(f"{column} {COLUMN_TYPES[type_]}" for column, type_ in columns.items())
            for sql in (f"CREATE TABLE {name} ({definitions})", f"INSERT INTO {name} VALUES {ROWS[name]}"):
                answer = self.run(sql)
                if answer.sqlstate:
                    sys.exit(f"{sql}: {answer}")

    def read_as_view(self, sql, n_columns):
        """The rows of a materialized view over the query, or the first of the errors that it holds."""
        names = ", ".join(f"o{index + 1}" for index in range(n_columns))
        answer = self.run(f"CREATE MATERIALIZED VIEW random_view ({names}) AS {sql}")
        if answer.sqlstate:
            return answer
        answer, errors = self.run("SELECT * FROM random_view"), self.run('SELECT * FROM "random_view$errors"')
        self.run("DROP MATERIALIZED VIEW random_view")
        return Answer(sqlstate="errors", message=f"in the view: {errors.rows[0]}") if errors.rows else answer


@dataclasses.dataclass
class Comparison:
    """PostgreSQL's answer beside Thalweg's, of which those not asked for are None."""
    expected: Answer
    read: Answer = None
    view: Answer = None

    def kinds(self, n_ordered):
        """What differs. The order does not unless ORDER BY has all columns."""
        if self.expected.sqlstate:
            return []
        kinds = [self.kind("read", self.read), self.kind("view", self.view)]
        has_order = self.read and self.read.rows and n_ordered == self.expected.n_columns
        if has_order and not kinds[0] and self.read.rows != self.expected.rows:
            kinds.append("order of the read")
        return [kind for kind in kinds if kind]

    def kind(self, what, answer):
        if answer is None or answer.sqlstate in NO_ANSWER:
            return None
        if answer.sqlstate:
            return f"only the {what} fails: {answer.sqlstate} {general(answer.message)}"
        return f"rows of the {what}" if collections.Counter(answer.rows) != collections.Counter(self.expected.rows) else None


def general(message):
    """A message without the names and numbers of its query."""
    return re.sub(r"\d+", "N", re.sub(r'"[^"]*"|\w+\.\w+', "…", message))[:80]


def compare(postgres, thalweg, sql):
    """Runs it on both; a query that takes PostgreSQL too long is not run by Thalweg."""
    expected = postgres.run(sql)
    if expected.sqlstate:
        return Comparison(expected, expected if expected.sqlstate == TIMEOUT else thalweg.run(sql))
    return Comparison(expected, thalweg.run(sql), thalweg.read_as_view(sql, expected.n_columns))


# ---------------------------------------------------------------- making a query smaller
MOST_TRIES = 500
MOST_SECONDS = 15
# What may take a piece's place from below it; anything else only what is of its kind.
STAND_INS = {"join": ["join", "relation"], "list": [], "optional": [], "order": []}


def edits(root):
    """Ways to make it smaller: (piece, index of a part, what to put there), the largest first."""
    for piece in root.pieces():
        for index, part in enumerate(piece.parts):
            if piece.kind == "list" and len(piece.parts) > 1 or isinstance(part, Sql) and part.kind == "optional":
                yield piece, index, []
            if isinstance(part, Sql):
                yield from ((piece, index, [inner]) for inner in part.pieces() if inner.kind in STAND_INS.get(part.kind, [part.kind]))
                if part.kind in LITERALS:
                    yield piece, index, [LITERALS[part.kind][0]]


def make_smaller(root, still_differs):
    """Takes each edit after which it still differs, within bounds: most gain comes with the first ones."""
    tried, end = {str(root)}, time.monotonic() + MOST_SECONDS
    is_smaller = True
    while is_smaller:
        is_smaller = False
        length = len(str(root))
        for piece, index, replacement in list(edits(root)):
            if len(tried) > MOST_TRIES or time.monotonic() > end:
                return
            parts = piece.parts
            piece.parts = parts[:index] + replacement + parts[index + 1:]
            sql = str(root)
            is_smaller = len(sql) < length and sql not in tried and still_differs(sql)
            tried.add(sql)
            if is_smaller:
                break
            piece.parts = parts


# ---------------------------------------------------------------- the run
class Run:
    """Queries of seeds, and what came of them."""

    def __init__(self, postgres, thalweg):
        self.postgres, self.thalweg = postgres, thalweg
        self.n_queries = self.n_with_rows = self.n_refused_by_both = 0
        self.refused = collections.Counter()  # by message
        self.accepted_alone = collections.Counter()  # by PostgreSQL's error
        self.differences = collections.Counter()  # by kind
        self.first_seeds = {}  # of each of these messages, errors and kinds

    def check(self, seed):
        query = Generator(seed).statement()
        comparison = compare(self.postgres, self.thalweg, str(query.sql))
        kinds = comparison.kinds(query.n_ordered())
        self.count(seed, comparison)
        if kinds:
            self.tally(self.differences, kinds[0], seed)
            self.show(seed, kinds, query)

    def tally(self, counts, what, seed):
        counts[what] += 1
        self.first_seeds.setdefault(what, seed)

    def count(self, seed, comparison):
        self.n_queries += 1
        self.n_with_rows += bool(comparison.expected.rows)
        failed = comparison.expected.sqlstate
        if failed and comparison.read.sqlstate:
            self.n_refused_by_both += 1
        elif failed:
            self.tally(self.accepted_alone, f"{failed} {general(comparison.expected.message)}", seed)
        elif comparison.read.sqlstate in NO_ANSWER:
            self.tally(self.refused, general(comparison.read.message), seed)
        elif comparison.view.sqlstate in NO_ANSWER:
            self.tally(self.refused, f"view: {general(comparison.view.message)}", seed)

    def show(self, seed, kinds, query):
        def still_differs(text):
            comparison = Comparison(self.postgres.run(text))
            if comparison.expected.sqlstate:
                return False
            if "view" in kinds[0]:
                comparison.view = self.thalweg.read_as_view(text, comparison.expected.n_columns)
            else:
                comparison.read = self.thalweg.run(text)
            return kinds[0] in comparison.kinds(query.n_ordered())

        make_smaller(query.sql, still_differs)
        comparison = compare(self.postgres, self.thalweg, str(query.sql))
        print(f"seed {seed}: {', '.join(kinds)}\n    {query.sql};")
        print(f"    PostgreSQL: {comparison.expected}\n    read: {comparison.read}\n    view: {comparison.view}\n", flush=True)

    def report(self):
        for title, counts in (("refused", self.refused), ("accepted alone", self.accepted_alone), ("differs", self.differences)):
            for message, count in counts.most_common():
                print(f"{title}: {count} (first by seed {self.first_seeds[message]}) {message}")
        print(f"{self.n_queries} queries, {self.n_with_rows} with rows, {self.n_refused_by_both} refused by both,"
              f" {self.refused.total()} refused, {self.accepted_alone.total()} accepted alone, {self.differences.total()} differences")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", required=True, metavar="HOST:PORT", help="where Thalweg is")
    options.add_argument("--seed", type=int, default=1, help="of the first query")
    options.add_argument("--seconds", type=float, default=60, help="stop after this time")
    options.add_argument("--queries", type=int, default=sys.maxsize, help="stop after this many")
    options = options.parse_args()
    keep_text()
    host, _, port = options.server.rpartition(":")
    with own_postgres() as databases:
        # Without its just-in-time compiler, which takes seconds for what runs in milliseconds.
        postgres = Server(host="127.0.0.1", port=databases.port, user="postgres", dbname="postgres", options="-c jit=off")
        thalweg = Server(host=host, port=port, user="thalweg", dbname="thalweg")
        for server in (postgres, thalweg):
            server.make_tables()
        run, end = Run(postgres, thalweg), time.monotonic() + options.seconds
        while run.n_queries < options.queries and time.monotonic() < end:
            run.check(options.seed + run.n_queries)
        run.report()
    sys.exit(1 if run.differences else 0)


if __name__ == "__main__":
    main()
