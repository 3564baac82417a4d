"""SQLAlchemy 2 over psycopg, psycopg2 and asyncpg: Core, ORM, transactions, reflection, streamed results.

SQLALCHEMY_DRIVER says over which of the first two; asyncpg has a test of its own below.

Definitions are not part of a transaction here, so `create_all` wants an engine with isolation_level="AUTOCOMMIT"; and there are no
sequences, so keys are given: `autoincrement=False`.
"""

import asyncio
import datetime
import decimal
import os
import unittest
import uuid

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from checks import main

address = f"postgresql+{os.environ['SQLALCHEMY_DRIVER']}://"
engine = sa.create_engine(address)
definitions = engine.execution_options(isolation_level="AUTOCOMMIT")


def define(*statements):
    with definitions.connect() as db:
        for statement in statements:
            db.execute(sa.text(statement))


def sqlstate(error):
    """Of the driver's error below SQLAlchemy's; psycopg2 calls it pgcode."""
    return getattr(error.orig, "sqlstate", None) or error.orig.pgcode


class Base(orm.DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(40))
    born: orm.Mapped[datetime.date | None]
    orders: orm.Mapped[list["Order"]] = orm.relationship(
        back_populates="customer",
        primaryjoin="Customer.id == foreign(Order.customer_id)",
        cascade="all, delete-orphan",
        order_by="Order.id",
    )


class Order(Base):
    __tablename__ = "order"
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    customer_id: orm.Mapped[int | None]
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(12, 2))
    customer: orm.Mapped[Customer | None] = orm.relationship(
        back_populates="orders", primaryjoin="Customer.id == foreign(Order.customer_id)"
    )


class Orm(unittest.TestCase):
    def setUp(self):
        Base.metadata.drop_all(definitions)
        Base.metadata.create_all(definitions)
        # Finds that they are there.
        Base.metadata.create_all(definitions)
        with orm.Session(engine) as session:
            ada = Customer(id=1, name="Ada", born=datetime.date(1815, 12, 10))
            ada.orders = [Order(id=i, price=decimal.Decimal(i) + decimal.Decimal("0.5")) for i in range(1, 6)]
            session.add_all([ada, Customer(id=2, name="Grace")])
            session.commit()

    def test_objects_are_found_changed_and_deleted(self):
        with orm.Session(engine) as session:
            ada = session.get(Customer, 1)
            self.assertEqual((ada.name, ada.born, len(ada.orders)), ("Ada", datetime.date(1815, 12, 10), 5))
            ada.name = "Ada L."
            ada.orders.pop()
            session.commit()
            self.assertEqual(session.scalars(sa.select(Order.id).order_by(Order.id)).all(), [1, 2, 3, 4])
            session.delete(ada)
            session.commit()
        with orm.Session(engine) as session:
            self.assertEqual(session.scalars(sa.select(Customer.name)).all(), ["Grace"])
            self.assertEqual(session.scalar(sa.select(sa.func.count()).select_from(Order)), 0)

    def test_queries(self):
        with orm.Session(engine) as session:
            total = sa.func.sum(Order.price)
            query = sa.select(Customer.name, total).outerjoin(Customer.orders).group_by(Customer.name).order_by(Customer.name)
            self.assertEqual(session.execute(query).all(), [("Ada", decimal.Decimal("17.5")), ("Grace", None)])
            loaded = session.scalars(sa.select(Customer).options(orm.selectinload(Customer.orders)).order_by(Customer.id)).all()
            self.assertEqual([len(customer.orders) for customer in loaded], [5, 0])
            joined = session.scalars(sa.select(Order).options(orm.joinedload(Order.customer)).where(Order.id == 3)).one()
            self.assertEqual(joined.customer.name, "Ada")
            has_orders = sa.select(Customer.name).where(Customer.orders.any(Order.price > 5))
            self.assertEqual(session.scalars(has_orders).all(), ["Ada"])
            numbered = sa.select(Order.id, sa.func.row_number().over(order_by=Order.price.desc()).label("place")).subquery()
            self.assertEqual(session.execute(sa.select(numbered.c.id).where(numbered.c.place == 1)).scalar_one(), 5)

    def test_what_is_rolled_back_and_what_is_not(self):
        with orm.Session(engine) as session:
            session.add(Customer(id=3, name="Edsger"))
            with self.assertRaises(sa.exc.IntegrityError) as raised:
                with session.begin_nested():
                    session.add(Customer(id=1, name="again"))
            self.assertEqual(sqlstate(raised.exception), "23505")
            session.commit()
            session.add(Customer(id=4, name="Barbara"))
            session.flush()
            session.rollback()
            self.assertEqual(session.scalars(sa.select(Customer.id).order_by(Customer.id)).all(), [1, 2, 3])

    def test_bulk_statements(self):
        with orm.Session(engine) as session:
            inserted = session.scalars(
                sa.insert(Order).returning(Order.id), [{"id": i, "customer_id": 2, "price": i} for i in range(100, 1300)]
            )
            self.assertEqual(len(inserted.all()), 1200)
            changed = session.execute(sa.update(Order).where(Order.id >= 100).values(price=Order.price * 2))
            self.assertEqual(changed.rowcount, 1200)
            session.execute(sa.update(Order), [{"id": 100, "price": 1}, {"id": 101, "price": 2}])
            upsert = postgresql.insert(Order).values(id=1, customer_id=2, price=9)
            session.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"price": upsert.excluded.price}))
            self.assertEqual(session.scalar(sa.select(Order.price).where(Order.id == 1)), 9)
            self.assertEqual(session.execute(sa.delete(Order).where(Order.price < 10)).rowcount, 7)
            session.commit()


class Core(unittest.TestCase):
    def test_every_type_goes_in_and_out(self):
        utc = datetime.timezone.utc
        columns = [
            (sa.Boolean, True),
            (sa.SmallInteger, -3),
            (sa.BigInteger, 2**40),
            (sa.Float, 1.25),
            (sa.Numeric(20, 4), decimal.Decimal("12345678.1250")),
            (sa.Text, "grüße % :x"),
            (sa.String(5), "abc"),
            (sa.LargeBinary, b"\x00\xff"),
            (sa.Date, datetime.date(2024, 2, 29)),
            (sa.Time, datetime.time(1, 2, 3, 4)),
            (sa.DateTime, datetime.datetime(2024, 2, 29, 1, 2, 3, 4)),
            (sa.DateTime(timezone=True), datetime.datetime(2024, 2, 29, 1, 2, 3, 4, utc)),
            (sa.Interval, datetime.timedelta(days=1, seconds=2)),
            (sa.Uuid, uuid.UUID(int=7)),
            (sa.JSON, {"a": [1, None]}),
            (postgresql.JSONB, ["x", {"b": 1}]),
            (postgresql.ARRAY(sa.Integer), [1, None, 3]),
        ]
        metadata = sa.MetaData()
        made = [sa.Column(f"c{i}", kind) for i, (kind, _) in enumerate(columns)]
        table = sa.Table("every_type", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), *made)
        metadata.create_all(definitions)
        values = {f"c{i}": value for i, (_, value) in enumerate(columns)}
        with engine.begin() as db:
            db.execute(table.insert(), {"id": 1, **values})
            db.execute(table.insert().values(id=2, **dict.fromkeys(values, sa.null())))
        with engine.connect() as db:
            rows = db.execute(table.select().order_by(table.c.id)).mappings().all()
            self.assertEqual(dict(rows[0]), {"id": 1, **values})
            self.assertEqual(dict(rows[1]), {"id": 2, **dict.fromkeys(values)})
            for name, value in values.items():
                if not isinstance(value, (dict, list)):
                    self.assertEqual(db.execute(sa.select(table.c.id).where(table.c[name] == value)).scalars().all(), [1], name)

    def test_expressions(self):
        define("DROP TABLE IF EXISTS numbers CASCADE", "CREATE TABLE numbers (n integer PRIMARY KEY, label text)")
        numbers = sa.table("numbers", sa.column("n", sa.Integer), sa.column("label", sa.Text))
        with engine.begin() as db:
            db.execute(numbers.insert(), [{"n": n, "label": f"row-{n}"} for n in range(1, 101)])
        kind = sa.case((numbers.c.n % 2 == 0, "even"), else_="odd")
        query = sa.select(numbers.c.n, kind).where(numbers.c.n.in_([3, 4, 500]), numbers.c.label.like("row-%")).order_by(numbers.c.n)
        by_kind = sa.select(kind.label("kind"), sa.func.count()).group_by("kind").having(sa.func.count() > 1).order_by("kind")
        odd = sa.select(numbers.c.n).where(numbers.c.n % 2 == 1)
        both = sa.union_all(odd.where(numbers.c.n < 5), sa.select(numbers.c.n).where(numbers.c.n == 1)).order_by("n")
        common = sa.select(sa.func.max(numbers.c.n).label("top")).cte("common")
        with engine.connect() as db:
            self.assertEqual(db.execute(query.limit(5).offset(0)).all(), [(3, "odd"), (4, "even")])
            self.assertEqual(db.execute(by_kind).all(), [("even", 50), ("odd", 50)])
            self.assertEqual(db.execute(both).scalars().all(), [1, 1, 3])
            self.assertEqual(db.execute(sa.select(numbers.c.label).join(common, common.c.top == numbers.c.n)).scalar(), "row-100")
            self.assertEqual(db.execute(sa.select(numbers.c.n).where(numbers.c.label.ilike("ROW-9"))).scalar(), 9)
            self.assertEqual(db.execute(sa.select(sa.cast("12", sa.Integer) + 1, sa.func.coalesce(None, "x"))).one(), (13, "x"))
            self.assertEqual(db.execute(numbers.update().where(numbers.c.n > 90).values(label="new")).rowcount, 10)
            returned = db.execute(numbers.delete().where(numbers.c.n > 98).returning(numbers.c.n)).scalars().all()
            self.assertEqual(sorted(returned), [99, 100])
            db.rollback()
            self.assertEqual(db.execute(sa.select(sa.func.count()).select_from(numbers)).scalar(), 100)

    def test_rows_in_parts(self):
        query = sa.text("SELECT g FROM generate_series(1, 5000) AS s(g) ORDER BY g")
        with engine.connect() as db:
            streamed = db.execution_options(stream_results=True, max_row_buffer=500).execute(query)
            self.assertEqual(sum(g for (g,) in streamed), 5000 * 5001 // 2)
        with engine.connect() as db:
            parts = db.execute(query, execution_options={"yield_per": 700}).partitions(700)
            self.assertEqual([len(part) for part in parts], [700] * 7 + [100])

    def test_errors_and_what_they_are(self):
        for statement, kind, expected in [
            ("SELECT * FROM nowhere", sa.exc.ProgrammingError, "42P01"),
            ("SELEC 1", sa.exc.ProgrammingError, "42601"),
            ("SELECT 1 / 0", sa.exc.DataError, "22012"),
            ("SELECT 'x'::int", sa.exc.DataError, "22P02"),
            ("CREATE TABLE in_a_block (a int)", sa.exc.NotSupportedError, "0A000"),
        ]:
            with engine.connect() as db, self.subTest(statement=statement), self.assertRaises(kind) as raised:
                db.execute(sa.text(statement))
            self.assertEqual(sqlstate(raised.exception), expected)

    def test_isolation_levels(self):
        for level in ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ"):
            with engine.connect().execution_options(isolation_level=level) as db:
                self.assertEqual(db.execute(sa.text("SELECT 1")).scalar(), 1)
                self.assertEqual(db.get_isolation_level(), level)
        serializable = engine.connect().execution_options(isolation_level="SERIALIZABLE")
        with serializable as db, self.assertRaises(sa.exc.NotSupportedError):
            db.execute(sa.text("SELECT 1"))

    def test_a_pool_that_asks_whether_connections_live(self):
        pooled = sa.create_engine(address, pool_pre_ping=True, pool_size=1, max_overflow=0)
        for _ in range(3):
            with pooled.connect() as db:
                self.assertEqual(db.execute(sa.text("SELECT 1")).scalar(), 1)
        pooled.dispose()


class Reflection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        define(
            "CREATE SCHEMA shop",
            "CREATE TABLE shop.item (id bigint, part int, name varchar(5) NOT NULL, price numeric(12,3) DEFAULT 1.5, "
            "tags text[], at timestamptz, PRIMARY KEY (id, part))",
            "CREATE STREAM shop.sale (item bigint, at timestamp)",
            "CREATE VIEW shop.cheap AS SELECT id, name FROM shop.item WHERE price < 10",
            "CREATE MATERIALIZED VIEW shop.sold AS SELECT item, count(*) AS n FROM shop.sale GROUP BY item",
            "COMMENT ON TABLE shop.item IS 'what is sold'",
            "COMMENT ON COLUMN shop.item.price IS 'without tax'",
        )

    def setUp(self):
        self.inspector = sa.inspect(engine)

    def test_names(self):
        self.assertLessEqual({"public", "shop"}, set(self.inspector.get_schema_names()))
        self.assertEqual(self.inspector.default_schema_name, "public")
        self.assertEqual(sorted(self.inspector.get_table_names("shop")), ["item", "sale"])
        self.assertEqual(sorted(self.inspector.get_view_names("shop")), ["cheap", "sale$errors", "sold$errors"])
        self.assertEqual(self.inspector.get_materialized_view_names("shop"), ["sold"])
        self.assertTrue(self.inspector.has_table("item", "shop") and self.inspector.has_table("sold", "shop"))
        self.assertFalse(self.inspector.has_table("item"))
        with self.assertRaises(sa.exc.NoSuchTableError):
            self.inspector.get_columns("nowhere")

    def test_columns(self):
        columns = self.inspector.get_columns("item", "shop")
        shown = [(c["name"], str(c["type"]), c["nullable"], c["default"], c["comment"]) for c in columns]
        self.assertEqual(
            shown,
            [
                ("id", "BIGINT", False, None, None),
                ("part", "INTEGER", False, None, None),
                ("name", "VARCHAR(5)", False, None, None),
                ("price", "NUMERIC(12, 3)", True, "1.5", "without tax"),
                ("tags", "ARRAY", True, None, None),
                ("at", "TIMESTAMP", True, None, None),
            ],
        )
        self.assertIsInstance(columns[4]["type"].item_type, sa.TEXT)
        self.assertTrue(columns[5]["type"].timezone)
        sold = self.inspector.get_columns("sold", "shop")
        self.assertEqual([(c["name"], str(c["type"])) for c in sold], [("item", "BIGINT"), ("n", "BIGINT")])

    def test_keys_comments_and_definitions(self):
        key = self.inspector.get_pk_constraint("item", "shop")
        self.assertEqual((key["name"], key["constrained_columns"]), ("item_pkey", ["id", "part"]))
        self.assertEqual(self.inspector.get_table_comment("item", "shop"), {"text": "what is sold"})
        self.assertIn("price < 10", self.inspector.get_view_definition("cheap", "shop"))
        self.assertIn("count(*)", self.inspector.get_view_definition("sold", "shop"))
        for ask in ("get_indexes", "get_foreign_keys", "get_unique_constraints", "get_check_constraints"):
            self.assertEqual(getattr(self.inspector, ask)("item", "shop"), [], ask)

    def test_a_whole_schema(self):
        metadata = sa.MetaData(schema="shop")
        metadata.reflect(engine, views=True)
        self.assertLessEqual({"shop.item", "shop.sale", "shop.cheap"}, set(metadata.tables))
        item = metadata.tables["shop.item"]
        self.assertEqual([column.name for column in item.primary_key], ["id", "part"])
        with engine.begin() as db:
            db.execute(item.insert(), {"id": 1, "part": 2, "name": "ball", "tags": ["a", None]})
            self.assertEqual(db.execute(sa.select(item.c.price, item.c.tags)).one(), (decimal.Decimal("1.5"), ["a", None]))

    def test_a_materialized_view_as_a_table(self):
        sold = sa.Table("sold", sa.MetaData(), schema="shop", autoload_with=engine)
        sale = sa.Table("sale", sa.MetaData(), schema="shop", autoload_with=engine)
        for n in range(1, 4):
            with engine.begin() as db:
                db.execute(sale.insert(), [{"item": 1}, {"item": 2, "at": datetime.datetime(2024, 1, 1)}])
            with engine.connect() as db:
                self.assertEqual(db.execute(sold.select().order_by(sold.c.item)).all(), [(1, n), (2, n)])


class Asynchronous(unittest.TestCase):
    """The same tables over asyncpg."""

    def test_core_and_orm(self):
        async def run():
            asynchronous = create_async_engine("postgresql+asyncpg://")
            async with asynchronous.execution_options(isolation_level="AUTOCOMMIT").connect() as db:
                await db.run_sync(Base.metadata.drop_all)
                await db.run_sync(Base.metadata.create_all)
            async with AsyncSession(asynchronous, expire_on_commit=False) as session:
                session.add_all([Customer(id=i, name=f"c{i}") for i in range(10)])
                await session.commit()
                found = await session.scalars(sa.select(Customer).where(Customer.id.in_([1, 2])).order_by(Customer.id))
                self.assertEqual([customer.name for customer in found], ["c1", "c2"])
            async with AsyncSession(asynchronous) as session:
                session.add(Customer(id=1, name="again"))
                with self.assertRaises(sa.exc.IntegrityError):
                    await session.commit()
            async with asynchronous.connect() as db:
                streamed = await db.stream(sa.select(Customer.id).order_by(Customer.id))
                self.assertEqual([row.id async for row in streamed], list(range(10)))
                self.assertIn("customer", await db.run_sync(lambda sync: sa.inspect(sync).get_table_names()))
            await asynchronous.dispose()

        asyncio.run(run())


if __name__ == "__main__":
    main()
