"""asyncpg, which prepares everything and speaks binary only: types, introspection, cursors, COPY, pools, cancel, LISTEN, SUBSCRIBE."""

import asyncio
import datetime
import io
import json
import unittest

import asyncpg

from checks import ENDLESS, PATIENCE_S, VALUES, main


class Case(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.db = await asyncpg.connect()
        self.addAsyncCleanup(self.db.close)

    async def make(self, *statements):
        for statement in statements:
            await self.db.execute(statement)

    async def rows(self, query, *values):
        return [tuple(row) for row in await self.db.fetch(query, *values)]


class Values(Case):
    async def test_every_type_goes_in_and_out(self):
        columns = ", ".join(f"c{i} {sql_type}" for i, (sql_type, _) in enumerate(VALUES))
        await self.make("DROP TABLE IF EXISTS every_type", f"CREATE TABLE every_type (id int, {columns})")
        values = [value for _, value in VALUES]
        insert = f"INSERT INTO every_type VALUES ({', '.join(f'${i + 1}' for i in range(len(values) + 1))})"
        await self.db.execute(insert, 1, *values)
        await self.db.execute(insert, 2, *[None] * len(values))
        full, empty = await self.db.fetch("SELECT * FROM every_type ORDER BY id")
        for (sql_type, value), got in zip(VALUES, list(full.values())[1:]):
            self.assertEqual(got, value, sql_type)
        self.assertEqual(set(list(empty.values())[1:]), {None})
        for i, (sql_type, value) in enumerate(VALUES):
            count = await self.db.fetchval(f"SELECT count(*) FROM every_type WHERE c{i} = $1", value)
            self.assertEqual(count, 1, sql_type)

    async def test_json_through_a_codec(self):
        document = {"a": [1, None]}
        self.assertEqual(json.loads(await self.db.fetchval("SELECT $1::jsonb", json.dumps(document))), document)
        for kind in ("json", "jsonb"):
            await self.db.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            self.assertEqual(await self.db.fetchval(f"SELECT $1::{kind}", document), document)

    async def test_types_are_looked_up(self):
        # asyncpg asks pg_type and its neighbours for what it does not know by itself.
        await self.db.reload_schema_state()
        self.assertEqual(await self.db.fetchval("SELECT ARRAY['1 day'::interval]"), [datetime.timedelta(days=1)])
        self.assertEqual(await self.db.fetchval("SELECT ARRAY[[1, 2], [3, 4]]"), [[1, 2], [3, 4]])

    async def test_types_are_inferred(self):
        await self.make("DROP TABLE IF EXISTS typed", "CREATE TABLE typed (n int PRIMARY KEY, sq bigint, label text)")
        statement = await self.db.prepare("SELECT n, label FROM typed WHERE n = $1 AND sq > $2 AND label <> $3 AND $4::timestamptz < now()")
        self.assertEqual([parameter.name for parameter in statement.get_parameters()], ["int4", "int8", "text", "timestamptz"])
        self.assertEqual([(a.name, a.type.name) for a in statement.get_attributes()], [("n", "int4"), ("label", "text")])
        self.assertEqual(await self.db.fetchval("SELECT $1::int + 1", 41), 42)
        self.assertEqual(await self.db.fetchval("SELECT $1 || 'b'", "a"), "ab")
        self.assertEqual(await self.rows("SELECT unnest($1::int[])", [5, 6]), [(5,), (6,)])
        with self.assertRaises(asyncpg.DataError):
            await self.db.fetch("SELECT $1::int", "no number")


class Statements(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.make("DROP TABLE IF EXISTS written", "CREATE TABLE written (id int PRIMARY KEY, v text NOT NULL)")

    async def test_prepared_statements_are_used_again(self):
        insert = await self.db.prepare("INSERT INTO written VALUES ($1, $2)")
        for i in range(20):
            await insert.fetch(i, f"v{i}")
        query = await self.db.prepare("SELECT v FROM written WHERE id = $1")
        self.assertEqual([await query.fetchval(i) for i in range(20)], [f"v{i}" for i in range(20)])
        self.assertEqual([tuple(row) for row in await query.fetch(3)], [("v3",)])
        self.assertEqual(query.get_statusmsg(), "SELECT 1")
        self.assertEqual((await self.db.fetchrow("SELECT count(*) AS n FROM written"))["n"], 20)

    async def test_executemany_and_tags(self):
        await self.db.executemany("INSERT INTO written VALUES ($1, $2)", [(i, "x") for i in range(100)])
        self.assertEqual(await self.db.execute("UPDATE written SET v = 'y' WHERE id < 10"), "UPDATE 10")
        # All or nothing.
        with self.assertRaises(asyncpg.UniqueViolationError):
            await self.db.executemany("INSERT INTO written VALUES ($1, $2)", [(1000, "new"), (1, "there already")])
        self.assertEqual(await self.db.fetchval("SELECT count(*) FROM written"), 100)
        returned = await self.db.fetchmany("INSERT INTO written VALUES ($1, $2) RETURNING id", [(200, "a"), (201, "b")])
        self.assertEqual([row["id"] for row in returned], [200, 201])

    async def test_a_script(self):
        await self.db.execute("INSERT INTO written VALUES (1, 'a'); INSERT INTO written VALUES (2, 'b'); DELETE FROM written WHERE id = 1")
        self.assertEqual(await self.rows("SELECT * FROM written"), [(2, "b")])

    async def test_errors(self):
        for query, kind in [
            ("SELECT * FROM nowhere", asyncpg.UndefinedTableError),
            ("SELECT nothing FROM written", asyncpg.UndefinedColumnError),
            ("SELEC 1", asyncpg.PostgresSyntaxError),
            ("SELECT 1 / (SELECT count(*) FROM written)", asyncpg.DivisionByZeroError),
            ("INSERT INTO written VALUES (1, NULL)", asyncpg.NotNullViolationError),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", asyncpg.FeatureNotSupportedError),
        ]:
            with self.subTest(query=query), self.assertRaises(kind):
                await self.db.fetch(query)
        self.assertEqual(await self.db.fetchval("SELECT 1"), 1)

    async def test_a_table_that_changed_under_its_statement(self):
        await self.make("DROP TABLE IF EXISTS changing", "CREATE TABLE changing (a int)")
        self.assertEqual(await self.rows("SELECT * FROM changing"), [])
        await self.make("DROP TABLE changing", "CREATE TABLE changing (a text)", "INSERT INTO changing VALUES ('x')")
        self.assertEqual(await self.rows("SELECT * FROM changing"), [("x",)], "asyncpg prepares again when it is told so")

    async def test_notices(self):
        told = asyncio.get_running_loop().create_future()
        self.db.add_log_listener(lambda _, message: told.done() or told.set_result(message.message))
        await self.make("DROP TABLE IF EXISTS never_there")
        self.assertIn("never_there", await asyncio.wait_for(told, PATIENCE_S))


class Transactions(Case):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.make("DROP TABLE IF EXISTS account", "CREATE TABLE account (id int PRIMARY KEY, balance int)")
        await self.make("INSERT INTO account SELECT g, 100 FROM generate_series(1, 3000) AS s(g)")

    async def test_blocks_and_savepoints(self):
        async with self.db.transaction():
            await self.db.execute("UPDATE account SET balance = 1 WHERE id = 1")
            with self.assertRaises(asyncpg.UniqueViolationError):
                async with self.db.transaction():
                    await self.db.execute("UPDATE account SET balance = 2 WHERE id = 2")
                    await self.db.execute("INSERT INTO account VALUES (3, 0)")
        self.assertEqual(await self.rows("SELECT balance FROM account WHERE id < 3 ORDER BY id"), [(1,), (100,)])
        with self.assertRaises(ZeroDivisionError):
            async with self.db.transaction():
                await self.db.execute("DELETE FROM account")
                raise ZeroDivisionError
        self.assertEqual(await self.db.fetchval("SELECT count(*) FROM account"), 3000)

    async def test_modes(self):
        async with self.db.transaction(isolation="repeatable_read", readonly=True):
            with self.assertRaises(asyncpg.ReadOnlySQLTransactionError):
                async with self.db.transaction():
                    await self.db.execute("DELETE FROM account")
            self.assertEqual(await self.db.fetchval("SHOW transaction_isolation"), "repeatable read")

    async def test_two_writers_of_one_row(self):
        other = await asyncpg.connect()
        self.addAsyncCleanup(other.close)
        with self.assertRaises(asyncpg.SerializationError):
            async with self.db.transaction():
                await self.db.execute("UPDATE account SET balance = 1 WHERE id = 1")
                await other.execute("UPDATE account SET balance = 2 WHERE id = 1")
        self.assertEqual(await self.db.fetchval("SELECT balance FROM account WHERE id = 1"), 2)

    async def test_cursors(self):
        async with self.db.transaction():
            ids = [row["id"] async for row in self.db.cursor("SELECT id FROM account WHERE id > $1 ORDER BY id", 10, prefetch=400)]
            self.assertEqual(ids, list(range(11, 3001)))
            cursor = await self.db.cursor("SELECT id FROM account ORDER BY id")
            self.assertEqual([row["id"] for row in await cursor.fetch(3)], [1, 2, 3])
            await cursor.forward(100)
            self.assertEqual((await cursor.fetchrow())["id"], 104)


class Copy(Case):
    async def test_there_and_back(self):
        await self.make("DROP TABLE IF EXISTS copied", "CREATE TABLE copied (id int, v text)")
        records = [(i, None if i % 3 == 0 else f"v\t{i}") for i in range(1000)]
        self.assertEqual(await self.db.copy_records_to_table("copied", records=records), "COPY 1000")
        self.assertEqual(await self.rows("SELECT * FROM copied ORDER BY id"), records)
        out = io.BytesIO()
        await self.db.copy_from_query("SELECT id, v FROM copied WHERE id < $1 ORDER BY id", 2, output=out, format="csv")
        self.assertEqual(out.getvalue(), b"0,\n1,v\t1\n")
        given = io.BytesIO(b"5000;x\n5001;\n")
        self.assertEqual(await self.db.copy_to_table("copied", source=given, format="csv", delimiter=";"), "COPY 2")
        out = io.BytesIO()
        self.assertEqual(await self.db.copy_from_table("copied", columns=["v"], output=out), "COPY 1002")
        with self.assertRaises(asyncpg.InvalidTextRepresentationError):
            await self.db.copy_to_table("copied", source=io.BytesIO(b"1,a\nx,b\n"), format="csv")
        self.assertEqual(await self.db.fetchval("SELECT count(*) FROM copied"), 1002)


class Connections(Case):
    async def test_a_pool(self):
        async with asyncpg.create_pool(min_size=1, max_size=5) as pool:
            squares = await asyncio.gather(*[pool.fetchval("SELECT $1::int * $1::int", i) for i in range(50)])
            self.assertEqual(squares, [i * i for i in range(50)])
            async with pool.acquire() as db:
                await db.execute("SET application_name = 'left behind'; LISTEN left_behind")
                pid = db.get_server_pid()
            for _ in range(5):
                async with pool.acquire() as db:
                    if db.get_server_pid() == pid:
                        self.assertNotEqual(await db.fetchval("SHOW application_name"), "left behind")

    async def test_what_the_server_says_of_itself(self):
        self.assertEqual(self.db.get_server_version().major, 15)
        self.assertEqual(self.db.get_settings().client_encoding, "UTF8")
        with self.assertRaises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(database="nowhere")
        other = await asyncpg.connect(server_settings={"application_name": "me", "statement_timeout": "50"})
        self.addAsyncCleanup(other.close)
        self.assertEqual(await other.fetchval("SHOW application_name"), "me")
        with self.assertRaises(asyncpg.QueryCanceledError):
            await other.fetch(ENDLESS)

    async def test_cancel(self):
        with self.assertRaises(TimeoutError):
            await self.db.fetch(ENDLESS, timeout=0.2)
        self.assertEqual(await self.db.fetchval("SELECT 1"), 1)
        running = asyncio.create_task(self.db.fetch(ENDLESS))
        other = await asyncpg.connect()
        self.addAsyncCleanup(other.close)
        running.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await running
        self.assertEqual(await self.db.fetchval("SELECT 2"), 2)


class Streaming(Case):
    """What other databases do not have: streams, views that are kept, SUBSCRIBE; and LISTEN."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        await self.make(
            "DROP STREAM IF EXISTS sale CASCADE",
            "CREATE STREAM sale (item text, price numeric(10,2))",
            "CREATE MATERIALIZED VIEW sold AS SELECT item, count(*) AS n FROM sale GROUP BY item",
        )
        self.other = await asyncpg.connect()
        self.addAsyncCleanup(self.other.close)

    async def sell(self, *items):
        await self.other.executemany("INSERT INTO sale VALUES ($1, $2)", [(item, 1) for item in items])

    async def test_a_view_shows_what_was_acknowledged(self):
        for n in range(1, 11):
            await self.sell("ball")
            self.assertEqual(await self.rows("SELECT * FROM sold"), [("ball", n)])

    async def test_subscribe_through_a_cursor(self):
        await self.sell("ball")
        async with self.db.transaction():
            await self.db.execute("DECLARE changes CURSOR FOR SUBSCRIBE sold")
            self.assertEqual([tuple(row)[1:] for row in await self.db.fetch("FETCH 10 FROM changes")], [(1, "ball", 1)])
            await self.sell("ball")
            changes = []
            while len(changes) < 2:
                changes += [tuple(row)[1:] for row in await self.db.fetch("FETCH 10 FROM changes")]
            self.assertEqual(sorted(changes), [(-1, "ball", 1), (1, "ball", 2)])

    async def test_subscribe_through_copy(self):
        lines = asyncio.Queue()

        async def take(data):
            for line in data.splitlines():
                await lines.put(line.split(b"\t")[1:])

        next_line = lambda: asyncio.wait_for(lines.get(), PATIENCE_S)
        await self.sell("ball")
        running = asyncio.create_task(self.db.copy_from_query("SUBSCRIBE sold", output=take))
        self.assertEqual(await next_line(), [b"1", b"ball", b"1"])
        await self.sell("ball")
        self.assertEqual(sorted([await next_line(), await next_line()]), [[b"-1", b"ball", b"1"], [b"1", b"ball", b"2"]])
        running.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await running
        self.assertEqual(await self.rows("SELECT n FROM sold"), [(2,)])

    async def test_listen(self):
        heard = asyncio.Queue()
        listener = lambda _connection, _pid, channel, payload: heard.put_nowait((channel, payload))
        await self.db.add_listener("news", listener)
        await self.db.add_listener("sold", listener)
        await self.other.execute("NOTIFY news, 'hello'")
        self.assertEqual(await asyncio.wait_for(heard.get(), PATIENCE_S), ("news", "hello"))
        await self.sell("ball")
        channel, payload = await asyncio.wait_for(heard.get(), PATIENCE_S)
        self.assertEqual((channel, payload.isdigit()), ("sold", True))
        await self.db.remove_listener("news", listener)


if __name__ == "__main__":
    main()
