"""psycopg 3, as its users use it: both formats, prepared statements, cursors, pipelines, COPY, cancel, LISTEN, SUBSCRIBE, asyncio."""

import asyncio
import unittest

import psycopg
from psycopg import errors, pq, sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types import TypeInfo
from psycopg.types.json import Json, Jsonb

from checks import ENDLESS, PATIENCE_S, VALUES, in_thread, main


def connect(autocommit=True, **options):
    return psycopg.connect("", autocommit=autocommit, **options)


class Case(unittest.TestCase):
    """Each test has a connection that commits at once."""

    def setUp(self):
        self.db = connect()
        self.addCleanup(self.db.close)

    def make(self, *statements):
        for statement in statements:
            self.db.execute(statement)

    def rows(self, query, values=None, **options):
        return self.db.cursor(**options).execute(query, values).fetchall()

    def sqlstate(self, query, values=None):
        with self.assertRaises(psycopg.Error) as raised:
            self.db.execute(query, values)
        return raised.exception.sqlstate


class Values(Case):
    def test_every_type_goes_in_and_out_in_both_formats(self):
        columns = ", ".join(f"c{i} {sql_type}" for i, (sql_type, _) in enumerate(VALUES))
        self.make("DROP TABLE IF EXISTS every_type", f"CREATE TABLE every_type (id int, {columns})")
        values = [value for _, value in VALUES]
        nulls = [None] * len(values)
        for row, placeholder in enumerate(("%s", "%t", "%b")):
            insert = f"INSERT INTO every_type VALUES (%s, {', '.join([placeholder] * len(values))})"
            self.db.execute(insert, [2 * row, *values])
            self.db.execute(insert, [2 * row + 1, *nulls])
        for binary in (False, True):
            got = self.rows("SELECT * FROM every_type ORDER BY id", binary=binary)
            self.assertEqual(len(got), 6)
            for row in got:
                for (sql_type, value), column in zip(VALUES, row[1:]):
                    self.assertEqual(column, None if row[0] % 2 else value, f"{sql_type}, row {row[0]}, binary={binary}")

    def test_a_parameter_meets_a_column_of_every_type(self):
        for sql_type, value in VALUES:
            self.make("DROP TABLE IF EXISTS meets", f"CREATE TABLE meets (a {sql_type})")
            self.db.execute("INSERT INTO meets VALUES (%s)", [value])
            for placeholder in ("%t", "%b"):
                with self.subTest(sql_type=sql_type, placeholder=placeholder):
                    query = f"SELECT count(*) FROM meets WHERE a = {placeholder}"
                    self.assertEqual(self.rows(query, [value]), [(1,)])

    def test_json(self):
        document = {"a": [1, None, {"b": "☃"}], "c": 1.5}
        self.make("DROP TABLE IF EXISTS documents", "CREATE TABLE documents (j json, b jsonb)")
        self.db.execute("INSERT INTO documents VALUES (%s, %s)", [Json(document), Jsonb(document)])
        for binary in (False, True):
            self.assertEqual(self.rows("SELECT j, b FROM documents", binary=binary), [(document, document)])

    def test_parameters(self):
        self.make("DROP TABLE IF EXISTS numbers", "CREATE TABLE numbers (n int PRIMARY KEY, label text)")
        self.make("INSERT INTO numbers SELECT g, 'row ' || g FROM generate_series(1, 1000) AS s(g)")
        self.assertEqual(self.rows("SELECT n FROM numbers ORDER BY n LIMIT %s OFFSET %s", (2, 10)), [(11,), (12,)])
        self.assertEqual(self.rows("SELECT count(*) FROM numbers WHERE n = ANY(%s)", ([1, 5, 5000],)), [(2,)])
        self.assertEqual(self.rows("SELECT n FROM numbers WHERE label = %(l)s OR n < %(n)s", {"l": "row 7", "n": 1}), [(7,)])
        self.assertEqual(self.rows("SELECT %s::int4 IS NULL, %s::text", (None, "it's %")), [(True, "it's %")])
        evil = "'); DROP TABLE numbers; --"
        self.assertEqual(self.rows("SELECT %s::text, count(*) FROM numbers", (evil,)), [(evil, 1000)])
        composed = sql.SQL("SELECT {} FROM {} WHERE n = {}").format(sql.Identifier("label"), sql.Identifier("numbers"), sql.Literal(3))
        self.assertEqual(self.rows(composed), [("row 3",)])
        client = psycopg.ClientCursor(self.db)
        self.assertEqual(client.execute("SELECT label FROM numbers WHERE n = %s", (4,)).fetchall(), [("row 4",)])

    def test_columns_are_described(self):
        self.make("DROP TABLE IF EXISTS described", "CREATE TABLE described (a numeric(12,3), b varchar(7), c timestamptz)")
        columns = self.db.execute("SELECT a, b, c, count(*) AS n FROM described GROUP BY a, b, c").description
        self.assertEqual([column.name for column in columns], ["a", "b", "c", "n"])
        self.assertEqual([column.type_code for column in columns], [1700, 1043, 1184, 20])
        self.assertEqual((columns[0].precision, columns[0].scale, columns[1].display_size), (12, 3, 7))
        self.assertEqual(TypeInfo.fetch(self.db, "timestamptz").array_oid, 1185)
        self.assertIsNone(TypeInfo.fetch(self.db, "no_such_type"))

    def test_rows_of_other_shapes(self):
        self.assertEqual(self.rows("SELECT 1 AS a, 'x' AS b", row_factory=dict_row), [{"a": 1, "b": "x"}])
        self.assertEqual(self.rows("SELECT 1 AS a, 'x' AS b", row_factory=namedtuple_row)[0].b, "x")


class Statements(Case):
    def test_prepared_statements_are_used_again(self):
        self.make("DROP TABLE IF EXISTS squares", "CREATE TABLE squares (n int PRIMARY KEY, sq bigint)")
        self.make("INSERT INTO squares SELECT g, g::bigint * g FROM generate_series(1, 50) AS s(g)")
        # Those of psycopg's own choice after five times, those that are asked for, and those that must make room.
        self.db.prepared_max = 2
        for n in range(1, 31):
            self.assertEqual(self.rows("SELECT sq FROM squares WHERE n = %s", (n,)), [(n * n,)])
            self.assertEqual(self.db.execute("SELECT n FROM squares WHERE sq = %s", (n * n,), prepare=True).fetchall(), [(n,)])
            self.assertEqual(self.db.execute(f"SELECT {n} + %s::int", (1,), prepare=True).fetchall(), [(n + 1,)])
        self.assertEqual(self.sqlstate("SELECT * FROM nowhere"), "42P01")
        self.assertEqual(self.rows("SELECT sq FROM squares WHERE n = %s", (7,)), [(49,)])

    def test_several_statements_of_one_message(self):
        cursor = self.db.execute("SELECT 1; SELECT 'x', 2; VALUES (3), (4)")
        self.assertEqual(cursor.fetchall(), [(1,)])
        self.assertTrue(cursor.nextset())
        self.assertEqual(cursor.fetchall(), [("x", 2)])
        self.assertTrue(cursor.nextset())
        self.assertEqual(cursor.fetchall(), [(3,), (4,)])
        self.assertFalse(cursor.nextset())

    def test_executemany(self):
        self.make("DROP TABLE IF EXISTS many", "CREATE TABLE many (id int PRIMARY KEY, v text)")
        cursor = self.db.cursor()
        cursor.executemany("INSERT INTO many VALUES (%s, %s)", [(i, f"v{i}") for i in range(500)])
        self.assertEqual(cursor.rowcount, 500)
        cursor.executemany("UPDATE many SET v = %s WHERE id = %s RETURNING id", [("w", 1), ("w", 2)], returning=True)
        returned = [cursor.fetchall()]
        while cursor.nextset():
            returned.append(cursor.fetchall())
        self.assertEqual(returned, [[(1,)], [(2,)]])
        self.assertEqual(self.rows("SELECT count(*) FROM many WHERE v = 'w'"), [(2,)])
        # All or nothing.
        with self.assertRaises(errors.UniqueViolation):
            cursor.executemany("INSERT INTO many VALUES (%s, %s)", [(1000, "new"), (1, "there already")])
        self.assertEqual(self.rows("SELECT count(*) FROM many"), [(500,)])

    def test_counts_and_returning(self):
        self.make("DROP TABLE IF EXISTS counted", "CREATE TABLE counted (id int PRIMARY KEY, v text)")
        self.assertEqual(self.db.execute("INSERT INTO counted VALUES (1, 'a'), (2, NULL)").rowcount, 2)
        self.assertEqual(self.db.execute("UPDATE counted SET v = %s", ("b",)).rowcount, 2)
        self.assertEqual(self.db.execute("SELECT * FROM counted").rowcount, 2)
        self.assertEqual(self.db.execute("DELETE FROM counted WHERE id = 9").rowcount, 0)
        self.assertEqual(self.rows("INSERT INTO counted VALUES (3, 'c') RETURNING id, v"), [(3, "c")])
        self.assertEqual(self.db.execute("DELETE FROM counted").statusmessage, "DELETE 3")
        upsert = "INSERT INTO counted VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING v"
        self.assertEqual([self.rows(upsert, (5, v)) for v in ("x", "y")], [[("x",)], [("y",)]])

    def test_a_pipeline(self):
        self.make("DROP TABLE IF EXISTS piped", "CREATE TABLE piped (id int PRIMARY KEY)")
        with self.db.pipeline() as pipeline:
            for i in range(100):
                self.db.execute("INSERT INTO piped VALUES (%s)", (i,))
            counts = [self.db.execute("SELECT count(*) FROM piped WHERE id < %s", (i,)) for i in (10, 20)]
            pipeline.sync()
            self.assertEqual([count.fetchall() for count in counts], [[(10,)], [(20,)]])
        with self.assertRaises(errors.UniqueViolation):
            with self.db.pipeline():
                self.db.execute("INSERT INTO piped VALUES (1000)")
                self.db.execute("INSERT INTO piped VALUES (1)")
                self.db.execute("INSERT INTO piped VALUES (1001)")
        self.assertEqual(self.rows("SELECT count(*) FROM piped WHERE id >= 1000"), [(0,)])


class Cursors(Case):
    def setUp(self):
        super().setUp()
        self.make("DROP TABLE IF EXISTS scrolled", "CREATE TABLE scrolled (n int PRIMARY KEY)")
        self.make("INSERT INTO scrolled SELECT * FROM generate_series(1, 5000)")

    def test_a_cursor_of_the_server(self):
        for binary in (False, True):
            with self.db.transaction(), self.db.cursor("c", binary=binary) as cursor:
                cursor.itersize = 700
                cursor.execute("SELECT n FROM scrolled WHERE n > %s ORDER BY n", (1000,))
                self.assertEqual(cursor.fetchone(), (1001,))
                self.assertEqual(cursor.fetchmany(2), [(1002,), (1003,)])
                cursor.scroll(10)
                self.assertEqual([n for (n,) in cursor], list(range(1014, 5001)))

    def test_a_cursor_with_hold(self):
        with connect(autocommit=False) as db:
            cursor = db.cursor("held", withhold=True)
            cursor.execute("SELECT n FROM scrolled ORDER BY n")
            db.commit()
            self.assertEqual(len(cursor.fetchmany(10)), 10)
            db.commit()
            self.assertEqual(cursor.fetchone(), (11,))
            cursor.close()

    def test_rows_are_streamed(self):
        self.assertEqual(sum(n for (n,) in self.db.cursor().stream("SELECT n FROM scrolled")), 5000 * 5001 // 2)
        sized = self.db.cursor().stream("SELECT n FROM scrolled ORDER BY n", size=128)
        self.assertEqual([n for (n,) in sized], list(range(1, 5001)))


class Transactions(Case):
    def setUp(self):
        super().setUp()
        self.make("DROP TABLE IF EXISTS account", "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)")
        self.make("INSERT INTO account VALUES (1, 100), (2, 100)")

    def test_status_of_a_block(self):
        with connect(autocommit=False) as db:
            status = lambda: db.info.transaction_status
            self.assertEqual(status(), pq.TransactionStatus.IDLE)
            db.execute("SELECT 1")
            self.assertEqual(status(), pq.TransactionStatus.INTRANS)
            with self.assertRaises(errors.UndefinedTable):
                db.execute("SELECT * FROM nowhere")
            self.assertEqual(status(), pq.TransactionStatus.INERROR)
            with self.assertRaises(errors.InFailedSqlTransaction):
                db.execute("SELECT 1")
            db.rollback()
            self.assertEqual(status(), pq.TransactionStatus.IDLE)

    def test_commit_and_rollback(self):
        with connect(autocommit=False) as db:
            db.execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
            self.assertEqual(self.rows("SELECT balance FROM account WHERE id = 1"), [(100,)], "nobody else sees it")
            db.rollback()
            db.execute("UPDATE account SET balance = balance - 30 WHERE id = 1")
            db.execute("UPDATE account SET balance = balance + 30 WHERE id = 2")
            db.commit()
        self.assertEqual(self.rows("SELECT balance FROM account ORDER BY id"), [(70,), (130,)])

    def test_savepoints(self):
        with self.db.transaction():
            self.db.execute("INSERT INTO account VALUES (3, 0)")
            with self.assertRaises(errors.UniqueViolation):
                with self.db.transaction():
                    self.db.execute("INSERT INTO account VALUES (4, 0)")
                    self.db.execute("INSERT INTO account VALUES (1, 0)")
            with self.db.transaction() as inner:
                self.db.execute("INSERT INTO account VALUES (5, 0)")
                raise psycopg.Rollback(inner)
        self.assertEqual(self.rows("SELECT id FROM account ORDER BY id"), [(1,), (2,), (3,)])

    def test_two_writers_of_one_row(self):
        with connect(autocommit=False) as db:
            db.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
            self.db.execute("UPDATE account SET balance = balance + 2 WHERE id = 1")
            with self.assertRaises(errors.SerializationFailure):
                db.commit()
        self.assertEqual(self.rows("SELECT balance FROM account WHERE id = 1"), [(102,)])

    def test_modes(self):
        with connect(autocommit=False) as db:
            db.read_only = True
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with self.assertRaises(errors.ReadOnlySqlTransaction):
                db.execute("DELETE FROM account")
            db.rollback()
            self.assertEqual(db.execute("SHOW transaction_isolation").fetchone(), ("repeatable read",))

    def test_definitions_are_not_part_of_a_block(self):
        with connect(autocommit=False) as db, self.assertRaises(errors.FeatureNotSupported) as raised:
            db.execute("CREATE TABLE in_a_block (a int)")
        self.assertIsNotNone(raised.exception.diag.message_hint)


class Errors(Case):
    def test_classes_and_fields(self):
        self.make("DROP TABLE IF EXISTS strict", "CREATE TABLE strict (id int PRIMARY KEY, v int NOT NULL)")
        self.make("INSERT INTO strict VALUES (1, 1)")
        for statement, kind in [
            ("SELECT * FROM nowhere", errors.UndefinedTable),
            ("SELECT nothing FROM strict", errors.UndefinedColumn),
            ("SELECT no_such_function(1)", errors.UndefinedFunction),
            ("SELEC 1", errors.SyntaxError),
            ("SELECT 'x'::int", errors.InvalidTextRepresentation),
            ("SELECT 1 / (id - id) FROM strict", errors.DivisionByZero),
            ("SELECT 2147483647 + id FROM strict", errors.NumericValueOutOfRange),
            ("INSERT INTO strict VALUES (1, 2)", errors.UniqueViolation),
            ("INSERT INTO strict VALUES (2, NULL)", errors.NotNullViolation),
            ("INSERT INTO strict VALUES ('x', 1)", errors.InvalidTextRepresentation),
            ("CREATE TABLE strict (a int)", errors.DuplicateTable),
            ("SET no_such_setting = 1", errors.UndefinedObject),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", errors.FeatureNotSupported),
        ]:
            with self.subTest(statement=statement), self.assertRaises(kind) as raised:
                self.db.execute(statement)
            diagnosis = raised.exception.diag
            self.assertEqual((diagnosis.severity, diagnosis.sqlstate), ("ERROR", kind.sqlstate))
        with self.assertRaises(errors.SyntaxError) as raised:
            self.db.execute("SELECT 1 +")
        self.assertIsNotNone(raised.exception.diag.statement_position)

    def test_notices(self):
        notices = []
        self.db.add_notice_handler(lambda diagnosis: notices.append(diagnosis.message_primary))
        self.make("DROP TABLE IF EXISTS never_there")
        self.assertEqual(len(notices), 1)
        self.assertIn("never_there", notices[0])

    def test_refused_connections(self):
        with self.assertRaisesRegex(psycopg.OperationalError, 'database "nowhere" does not exist'):
            connect(dbname="nowhere")


class Copy(Case):
    def setUp(self):
        super().setUp()
        self.make("DROP TABLE IF EXISTS copied", "CREATE TABLE copied (id int, v text, n numeric(10,2))")

    def test_text_and_binary(self):
        given = [(i, None if i % 3 == 0 else f"tab\t{i}\n\\", i) for i in range(300)]
        for options, kinds in (("", None), ("(FORMAT binary)", ["int4", "text", "numeric"])):
            with self.db.cursor().copy(f"COPY copied FROM STDIN {options}") as copy:
                if kinds:
                    copy.set_types(kinds)
                for row in given:
                    copy.write_row(row)
            with self.db.cursor().copy(f"COPY (SELECT * FROM copied ORDER BY id) TO STDOUT {options}") as copy:
                copy.set_types(["int4", "text", "numeric"])
                self.assertEqual(list(copy.rows()), given)
            self.make("TRUNCATE copied")

    def test_csv_in_pieces(self):
        cursor = self.db.cursor()
        with cursor.copy("COPY copied (v, id) FROM STDIN (FORMAT csv, HEADER)") as copy:
            for piece in ('v,id\n"a,', 'b",1\n,', "2\n"):
                copy.write(piece)
        self.assertEqual(cursor.rowcount, 2)
        self.assertEqual(self.rows("SELECT id, v FROM copied ORDER BY id"), [(1, "a,b"), (2, None)])

    def test_all_or_nothing(self):
        with self.assertRaises(errors.InvalidTextRepresentation):
            with self.db.cursor().copy("COPY copied FROM STDIN") as copy:
                copy.write("1\tx\t1\nno number\ty\t2\n")
        with self.assertRaises(ZeroDivisionError):
            with self.db.cursor().copy("COPY copied FROM STDIN") as copy:
                copy.write_row((1, "x", 1))
                raise ZeroDivisionError
        self.assertEqual(self.rows("SELECT count(*) FROM copied"), [(0,)])


class Cancel(Case):
    def test_a_query(self):
        def run():
            with self.assertRaises(errors.QueryCanceled):
                self.db.execute(ENDLESS)

        wait = in_thread(run)
        # Only a statement that has begun can be canceled, so the client asks until it has.
        while not wait(0.05):
            self.db.cancel_safe(timeout=PATIENCE_S)
        self.assertEqual(self.rows("SELECT 1"), [(1,)])

    def test_rows_on_their_way(self):
        stream = self.db.cursor().stream("SELECT a.a FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
        next(stream)
        self.db.cancel_safe(timeout=PATIENCE_S)
        with self.assertRaises(errors.QueryCanceled):
            for _ in stream:
                pass
        self.assertEqual(self.rows("SELECT 1"), [(1,)])

    def test_statement_timeout(self):
        with connect(options="-c statement_timeout=50ms") as db:
            with self.assertRaises(errors.QueryCanceled):
                db.execute(ENDLESS)
            self.assertEqual(db.execute("SHOW statement_timeout").fetchone(), ("50ms",))


class Streaming(Case):
    """What other databases do not have: streams, views that are kept, SUBSCRIBE; and LISTEN."""

    def setUp(self):
        super().setUp()
        self.make(
            "DROP STREAM IF EXISTS sale CASCADE",
            "CREATE STREAM sale (item text, price numeric(10,2))",
            "CREATE MATERIALIZED VIEW sold AS SELECT item, count(*) AS n, sum(price) AS total FROM sale GROUP BY item",
        )
        self.other = connect()
        self.addCleanup(self.other.close)

    def sell(self, *sales):
        self.other.cursor().executemany("INSERT INTO sale VALUES (%s, %s)", sales)

    def test_a_view_shows_what_was_acknowledged(self):
        for n in range(1, 11):
            self.sell(("ball", 2))
            self.assertEqual(self.rows("SELECT n, total FROM sold WHERE item = %s", ("ball",)), [(n, 2 * n)])
        with self.other.cursor().copy("COPY sale FROM STDIN") as copy:
            for _ in range(1000):
                copy.write_row(("cup", 1))
        self.assertEqual(self.rows("SELECT n FROM sold WHERE item = 'cup'"), [(1000,)])

    def test_subscribe_row_by_row(self):
        self.sell(("ball", 2))
        changes = self.db.cursor().stream("SUBSCRIBE sold")
        self.assertEqual(next(changes)[1:], (1, "ball", 1, 2))
        self.sell(("ball", 3))
        self.assertEqual(sorted(change[1:] for change in (next(changes), next(changes))), [(-1, "ball", 1, 2), (1, "ball", 2, 5)])
        self.db.cancel_safe(timeout=PATIENCE_S)
        with self.assertRaises(errors.QueryCanceled):
            next(changes)
        self.assertEqual(self.rows("SELECT n FROM sold"), [(2,)])

    def test_subscribe_through_a_cursor(self):
        with self.db.transaction(), self.db.cursor("changes") as cursor:
            cursor.execute("SUBSCRIBE (SELECT item FROM sold)")
            self.sell(("ball", 2))
            self.assertEqual(cursor.fetchone()[1:], (1, "ball"))
            self.sell(("cup", 2))
            self.assertEqual([row[1:] for row in cursor.fetchmany(10)], [(1, "cup")])

    def test_subscribe_through_copy(self):
        self.sell(("ball", 2))
        with self.assertRaises(errors.QueryCanceled):
            with self.db.cursor().copy("COPY (SUBSCRIBE sold WITH (PROGRESS false)) TO STDOUT") as copy:
                copy.set_types(["int8", "int8", "text", "int8", "numeric"])
                self.assertEqual(copy.read_row()[1:], (1, "ball", 1, 2))
                self.sell(("ball", 3))
                self.assertEqual(sorted(copy.read_row()[1] for _ in range(2)), [-1, 1])
                self.db.cancel_safe(timeout=PATIENCE_S)
                while copy.read_row():
                    pass

    def test_listen(self):
        self.db.execute("LISTEN news")
        with self.other.transaction():
            self.other.execute("NOTIFY news, 'first'")
            self.other.execute("SELECT pg_notify(%s, %s)", ("news", "second"))
        notified = self.db.notifies(timeout=PATIENCE_S, stop_after=2)
        self.assertEqual([(n.channel, n.payload) for n in notified], [("news", "first"), ("news", "second")])
        self.db.execute("LISTEN sold")
        self.sell(("ball", 2))
        (change,) = self.db.notifies(timeout=PATIENCE_S, stop_after=1)
        self.assertEqual((change.channel, change.payload.isdigit()), ("sold", True))
        self.db.execute("UNLISTEN *")


class Asyncio(unittest.TestCase):
    def test_connections_side_by_side(self):
        async def squares(i):
            async with await psycopg.AsyncConnection.connect("") as db:
                cursor = await db.execute("SELECT %s::int * %s::int", (i, i))
                return (await cursor.fetchone())[0]

        async def run():
            return await asyncio.gather(*[squares(i) for i in range(20)])

        self.assertEqual(asyncio.run(run()), [i * i for i in range(20)])


if __name__ == "__main__":
    main()
