// pgjdbc: types in both formats, batches, fetch sizes, transactions, COPY, cancel, DatabaseMetaData, LISTEN, SUBSCRIBE.
//
// Run as one file, `java -cp postgresql.jar PgjdbcTest.java`, with the server's address in PGHOST and PGPORT. It prints what failed
// and ends with 1; a test that hangs is ended by whoever runs this.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyOut;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

public class PgjdbcTest {
    /** Runs for longer than anybody waits, so it ends only when it is canceled. */
    static final String ENDLESS =
            "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.a + b.b = 1";

    static final int PATIENCE_MS = 60_000;

    interface Test {
        void run(Connection db) throws Exception;
    }

    static final Map<String, Test> TESTS = new LinkedHashMap<>();

    static {
        TESTS.put("every type goes in and out in both formats", PgjdbcTest::types);
        TESTS.put("arrays, intervals, json and uuid", PgjdbcTest::otherTypes);
        TESTS.put("parameters", PgjdbcTest::parameters);
        TESTS.put("prepared statements heal when their table has changed", PgjdbcTest::changedTable);
        TESTS.put("batches", PgjdbcTest::batches);
        TESTS.put("generated keys", PgjdbcTest::generatedKeys);
        TESTS.put("several results of one statement", PgjdbcTest::severalResults);
        TESTS.put("rows in parts", PgjdbcTest::fetchSize);
        TESTS.put("transactions and savepoints", PgjdbcTest::transactions);
        TESTS.put("isolation, read only and schema", PgjdbcTest::modes);
        TESTS.put("errors", PgjdbcTest::errors);
        TESTS.put("autosave", PgjdbcTest::autosave);
        TESTS.put("COPY", PgjdbcTest::copy);
        TESTS.put("cancel", PgjdbcTest::cancel);
        TESTS.put("columns of a result", PgjdbcTest::resultMetaData);
        TESTS.put("relations of a database", PgjdbcTest::relations);
        TESTS.put("columns, keys and indexes of a table", PgjdbcTest::columnsAndKeys);
        TESTS.put("everything else a database tells of itself", PgjdbcTest::otherMetaData);
        TESTS.put("a view shows what was acknowledged", PgjdbcTest::view);
        TESTS.put("SUBSCRIBE through a cursor", PgjdbcTest::subscribeCursor);
        TESTS.put("SUBSCRIBE row by row", PgjdbcTest::subscribeRows);
        TESTS.put("SUBSCRIBE through COPY", PgjdbcTest::subscribeCopy);
        TESTS.put("LISTEN", PgjdbcTest::listen);
    }

    public static void main(String[] only) {
        int failed = 0;
        for (Map.Entry<String, Test> test : TESTS.entrySet()) {
            if (only.length > 0 && !test.getKey().contains(only[0])) {
                continue;
            }
            try (Connection db = connect("")) {
                test.getValue().run(db);
                System.out.println("ok      " + test.getKey());
            } catch (Throwable failure) {
                failed++;
                System.out.println("FAILED  " + test.getKey());
                failure.printStackTrace(System.out);
            }
        }
        System.out.println(failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }

    // ---------------------------------------------------------------- values

    static void types(Connection db) throws Exception {
        run(db, "CREATE TABLE every_type (id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision,"
                + " n numeric(12,3), t text, v varchar(5), raw bytea, d date, tm time, ts timestamp, tz timestamptz)");
        LocalDateTime time = LocalDateTime.of(1969, 12, 31, 23, 59, 59, 999_999_000);
        Object[] values = {
            true, (short) -32768, 2147483647, Long.MIN_VALUE, 1.5f, -2.25e-300, new BigDecimal("-123456789.125"), "grüße ☃ 'q' \"d\" \\ ? $1",
            "abc", new byte[] {0, -1, 16, 92}, LocalDate.of(2024, 2, 29), LocalTime.of(12, 14, 56, 789_012_000), time,
            OffsetDateTime.of(time, ZoneOffset.UTC),
        };
        Class<?>[] classes = Arrays.stream(values).map(Object::getClass).toArray(Class<?>[]::new);
        String insert = "INSERT INTO every_type VALUES (?, " + String.join(", ", Collections.nCopies(values.length, "?")) + ")";
        try (PreparedStatement statement = db.prepareStatement(insert)) {
            // More often than the five times after which pgjdbc prepares on the server, and then in binary.
            for (int id = 1; id <= 12; id++) {
                statement.setInt(1, id);
                for (int i = 0; i < values.length; i++) {
                    if (id % 2 == 0) {
                        statement.setNull(i + 2, Types.NULL);
                    } else {
                        statement.setObject(i + 2, values[i]);
                    }
                }
                same(1, statement.executeUpdate());
            }
        }
        for (String options : List.of("", "prepareThreshold=-1", "preferQueryMode=simple", "binaryTransfer=false")) {
            try (Connection other = connect(options); PreparedStatement all = other.prepareStatement("SELECT * FROM every_type ORDER BY id")) {
                for (int turn = 0; turn < 7; turn++) {
                    ResultSet rows = all.executeQuery();
                    for (int id = 1; rows.next(); id++) {
                        same(id, rows.getInt(1));
                        for (int i = 0; i < values.length; i++) {
                            Object got = classes[i] == byte[].class ? rows.getBytes(i + 2) : rows.getObject(i + 2, classes[i]);
                            Object expected = id % 2 == 0 ? null : values[i];
                            check(Objects.deepEquals(got, expected), options + ", column " + (i + 2) + ": " + got + ", not " + expected);
                        }
                    }
                }
            }
        }
    }

    static void otherTypes(Connection db) throws Exception {
        run(db, "CREATE TABLE other_types (a int[], t text[], n numeric(10,2)[], i interval, u uuid, j json, b jsonb)");
        UUID uuid = UUID.fromString("12345678-1234-5678-1234-567812345678");
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO other_types VALUES (?, ?, ?, ?, ?, ?::json, ?)")) {
            for (int turn = 0; turn < 7; turn++) {
                insert.setArray(1, db.createArrayOf("int4", new Integer[] {1, null, -3}));
                insert.setArray(2, db.createArrayOf("text", new String[] {"a,b", "c\"d", null, "", "NULL"}));
                insert.setArray(3, db.createArrayOf("numeric", new BigDecimal[] {new BigDecimal("1.50"), null}));
                insert.setObject(4, new PGInterval(1, 2, 3, 4, 5, 6.5));
                insert.setObject(5, uuid);
                insert.setString(6, "{\"a\": [1, null]}");
                PGobject json = new PGobject();
                json.setType("jsonb");
                json.setValue("[1, 2]");
                insert.setObject(7, json);
                same(1, insert.executeUpdate());
            }
        }
        try (PreparedStatement select = db.prepareStatement("SELECT * FROM other_types")) {
            for (int turn = 0; turn < 7; turn++) {
                ResultSet rows = select.executeQuery();
                check(rows.next(), "a row");
                same("[1, null, -3]", Arrays.toString((Object[]) rows.getArray(1).getArray()));
                same("[a,b, c\"d, null, , NULL]", Arrays.toString((Object[]) rows.getArray(2).getArray()));
                same("[1.50, null]", Arrays.toString((Object[]) rows.getArray(3).getArray()));
                same(new PGInterval(1, 2, 3, 4, 5, 6.5), rows.getObject(4));
                same(uuid, rows.getObject(5));
                same("{\"a\": [1, null]}", rows.getString(6));
                same("[1, 2]", rows.getString(7));
            }
        }
        try (PreparedStatement select = db.prepareStatement("SELECT count(*) FROM other_types WHERE u = ? AND i = ? AND a = ?")) {
            select.setObject(1, uuid);
            select.setObject(2, new PGInterval(1, 2, 3, 4, 5, 6.5));
            select.setArray(3, db.createArrayOf("int4", new Integer[] {1, null, -3}));
            same(List.of("7"), rows(select.executeQuery()));
        }
    }

    static void parameters(Connection db) throws Exception {
        run(db, "CREATE TABLE numbers (n int PRIMARY KEY, label text)",
                "INSERT INTO numbers SELECT g, 'row ' || g FROM generate_series(1, 1000) AS s(g)");
        try (PreparedStatement one = db.prepareStatement("SELECT label FROM numbers WHERE n = ?")) {
            for (int n = 1; n <= 20; n++) {
                one.setInt(1, n);
                same(List.of("row " + n), rows(one.executeQuery()));
            }
            one.setNull(1, Types.INTEGER);
            same(List.of(), rows(one.executeQuery()));
        }
        try (PreparedStatement some = db.prepareStatement("SELECT n FROM numbers WHERE n = ANY (?) ORDER BY n LIMIT ? OFFSET ?")) {
            some.setArray(1, db.createArrayOf("int4", new Integer[] {5, 3, 1, 5000}));
            some.setInt(2, 2);
            some.setInt(3, 1);
            same(List.of("3", "5"), rows(some.executeQuery()));
        }
        try (PreparedStatement text = db.prepareStatement("SELECT ?::text, count(*) FROM numbers")) {
            text.setString(1, "'); DROP TABLE numbers; --");
            same(List.of("'); DROP TABLE numbers; --|1000"), rows(text.executeQuery()));
        }
        try (PreparedStatement escaped = db.prepareStatement("SELECT {fn length(label)}, {d '2024-02-29'} FROM numbers WHERE n = ?")) {
            escaped.setInt(1, 10);
            same(List.of("6|2024-02-29"), rows(escaped.executeQuery()));
        }
    }

    static void changedTable(Connection db) throws Exception {
        run(db, "CREATE TABLE changing (a int)", "INSERT INTO changing VALUES (1)");
        try (Connection healing = connect("autosave=conservative"); PreparedStatement all = healing.prepareStatement("SELECT * FROM changing")) {
            for (int turn = 0; turn < 7; turn++) {
                same(List.of("1"), rows(all.executeQuery()));
            }
            run(db, "DROP TABLE changing", "CREATE TABLE changing (a text)", "INSERT INTO changing VALUES ('x')");
            same(List.of("x"), rows(all.executeQuery()));
        }
    }

    // ---------------------------------------------------------------- statements

    static void batches(Connection db) throws Exception {
        run(db, "CREATE TABLE many (id int PRIMARY KEY, v text)");
        for (String options : List.of("", "reWriteBatchedInserts=true")) {
            try (Connection other = connect(options); PreparedStatement insert = other.prepareStatement("INSERT INTO many VALUES (?, ?)")) {
                for (int id = 0; id < 700; id++) {
                    insert.setInt(1, id);
                    insert.setString(2, "v" + id);
                    insert.addBatch();
                }
                same(700, insert.executeBatch().length);
                insert.setInt(1, 1000);
                insert.setString(2, "new");
                insert.addBatch();
                insert.setInt(1, 1);
                insert.setString(2, "there already");
                insert.addBatch();
                try {
                    insert.executeBatch();
                    check(false, "a key twice");
                } catch (BatchUpdateException expected) {
                    same("23505", expected.getSQLState());
                }
            }
            same(List.of("700"), rows(db, "SELECT count(*) FROM many"));
            try (Statement statement = db.createStatement()) {
                statement.addBatch("UPDATE many SET v = 'w' WHERE id < 10");
                statement.addBatch("DELETE FROM many WHERE id >= 10");
                statement.addBatch("DELETE FROM many");
                same("[10, 690, 10]", Arrays.toString(statement.executeBatch()));
            }
        }
    }

    static void generatedKeys(Connection db) throws Exception {
        run(db, "CREATE TABLE keyed (id int PRIMARY KEY, v text DEFAULT 'none')");
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO keyed (id) VALUES (?), (?)", Statement.RETURN_GENERATED_KEYS)) {
            insert.setInt(1, 1);
            insert.setInt(2, 2);
            same(2, insert.executeUpdate());
            same(List.of("1|none", "2|none"), rows(insert.getGeneratedKeys()));
        }
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO keyed (id) VALUES (?)", new String[] {"v"})) {
            insert.setInt(1, 3);
            insert.executeUpdate();
            same(List.of("none"), rows(insert.getGeneratedKeys()));
        }
        try (PreparedStatement upsert =
                db.prepareStatement("INSERT INTO keyed VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING v")) {
            for (String v : List.of("a", "b")) {
                upsert.setInt(1, 1);
                upsert.setString(2, v);
                same(List.of(v), rows(upsert.executeQuery()));
            }
        }
    }

    static void severalResults(Connection db) throws Exception {
        run(db, "CREATE TABLE several (a int)");
        try (Statement statement = db.createStatement()) {
            check(!statement.execute("INSERT INTO several VALUES (1), (2); SELECT a FROM several ORDER BY a; DELETE FROM several"), "a count");
            same(2, statement.getUpdateCount());
            check(statement.getMoreResults(), "rows");
            same(List.of("1", "2"), rows(statement.getResultSet()));
            check(!statement.getMoreResults(), "a count");
            same(2, statement.getUpdateCount());
        }
    }

    static void fetchSize(Connection db) throws Exception {
        run(db, "CREATE TABLE long (n int PRIMARY KEY)", "INSERT INTO long SELECT * FROM generate_series(1, 5000)");
        db.setAutoCommit(false);
        try (PreparedStatement all = db.prepareStatement("SELECT n FROM long WHERE n > ? ORDER BY n")) {
            all.setFetchSize(300);
            for (int turn = 0; turn < 7; turn++) {
                all.setInt(1, 100);
                ResultSet rows = all.executeQuery();
                int last = 100;
                while (rows.next()) {
                    same(++last, rows.getInt(1));
                }
                same(5000, last);
            }
            all.setMaxRows(10);
            same(10, rows(all.executeQuery()).size());
        }
        // Two at once, one of them left early.
        try (Statement outer = db.createStatement(); Statement inner = db.createStatement()) {
            outer.setFetchSize(2);
            inner.setFetchSize(2);
            ResultSet left = outer.executeQuery("SELECT n FROM long ORDER BY n");
            ResultSet right = inner.executeQuery("SELECT n FROM long ORDER BY n DESC");
            for (int n = 1; n <= 5; n++) {
                check(left.next() && right.next(), "rows");
                same(5001, left.getInt(1) + right.getInt(1));
            }
        }
        db.commit();
        try (Statement scrolled = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
            ResultSet rows = scrolled.executeQuery("SELECT n FROM long ORDER BY n");
            check(rows.last(), "a last row");
            same(5000, rows.getInt(1));
            check(rows.absolute(10) && rows.previous(), "backwards");
            same(9, rows.getInt(1));
        }
        db.rollback();
    }

    // ---------------------------------------------------------------- transactions

    static void transactions(Connection db) throws Exception {
        run(db, "CREATE TABLE account (id int PRIMARY KEY, balance int)", "INSERT INTO account VALUES (1, 100)");
        try (Connection other = connect("")) {
            db.setAutoCommit(false);
            run(db, "UPDATE account SET balance = 1");
            same(List.of("100"), rows(other, "SELECT balance FROM account"));
            Savepoint savepoint = db.setSavepoint("s");
            run(db, "INSERT INTO account VALUES (2, 0)");
            same("23505", sqlstate(db, "INSERT INTO account VALUES (1, 0)"));
            same("25P02", sqlstate(db, "SELECT 1"));
            db.rollback(savepoint);
            Savepoint released = db.setSavepoint();
            run(db, "INSERT INTO account VALUES (3, 0)");
            db.releaseSavepoint(released);
            db.commit();
            same(List.of("1|1", "3|0"), rows(other, "SELECT * FROM account ORDER BY id"));
            run(db, "DELETE FROM account");
            db.rollback();
            run(db, "UPDATE account SET balance = 2 WHERE id = 1");
            run(other, "UPDATE account SET balance = 3 WHERE id = 1");
            try {
                db.commit();
                check(false, "two writers of one row");
            } catch (SQLException expected) {
                same("40001", expected.getSQLState());
            }
            db.rollback();
            same(List.of("1|3", "3|0"), rows(db, "SELECT * FROM account ORDER BY id"));
        }
    }

    static void modes(Connection db) throws Exception {
        run(db, "CREATE TABLE moded (a int)");
        for (int level : new int[] {Connection.TRANSACTION_READ_UNCOMMITTED, Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ}) {
            db.setTransactionIsolation(level);
            same(level, db.getTransactionIsolation());
        }
        try {
            db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            check(false, "serializable");
        } catch (SQLException expected) {
            same("0A000", expected.getSQLState());
        }
        db.setReadOnly(true);
        db.setAutoCommit(false);
        same("25006", sqlstate(db, "INSERT INTO moded VALUES (1)"));
        db.rollback();
        db.setReadOnly(false);
        db.setAutoCommit(true);
        run(db, "INSERT INTO moded VALUES (1)");
        same("public", db.getSchema());
        db.setSchema("public");
        same("thalweg", db.getCatalog());
        check(db.isValid(PATIENCE_MS / 1000), "valid");
        db.setClientInfo("ApplicationName", "me");
        same(List.of("me"), rows(db, "SHOW application_name"));
    }

    static void errors(Connection db) throws Exception {
        run(db, "CREATE TABLE strict (id int PRIMARY KEY, v int NOT NULL)");
        same("42P01", sqlstate(db, "SELECT * FROM nowhere"));
        same("42703", sqlstate(db, "SELECT nothing FROM strict"));
        same("42601", sqlstate(db, "SELEC 1"));
        same("22P02", sqlstate(db, "SELECT 'x'::int"));
        same("22012", sqlstate(db, "SELECT 1 / 0"));
        same("23502", sqlstate(db, "INSERT INTO strict VALUES (1, NULL)"));
        same("42P07", sqlstate(db, "CREATE TABLE strict (a int)"));
        try {
            run(db, "SELECT 1 + ");
            check(false, "a syntax error");
        } catch (PSQLException expected) {
            check(expected.getServerErrorMessage().getPosition() > 0, "a position");
            same("ERROR", expected.getServerErrorMessage().getSeverity());
        }
        try (Statement statement = db.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS never_there");
            check(statement.getWarnings().getMessage().contains("never_there"), "a notice");
        }
        db.setAutoCommit(false);
        same("0A000", sqlstate(db, "CREATE TABLE in_a_block (a int)"));
        db.rollback();
    }

    static void autosave(Connection db) throws Exception {
        run(db, "CREATE TABLE saved (a int PRIMARY KEY)");
        try (Connection saving = connect("autosave=always")) {
            saving.setAutoCommit(false);
            run(saving, "INSERT INTO saved VALUES (1)");
            same("23505", sqlstate(saving, "INSERT INTO saved VALUES (1)"));
            run(saving, "INSERT INTO saved VALUES (2)");
            saving.commit();
        }
        same(List.of("1", "2"), rows(db, "SELECT a FROM saved ORDER BY a"));
    }

    static void copy(Connection db) throws Exception {
        run(db, "CREATE TABLE copied (id int, v text)");
        var copy = db.unwrap(PGConnection.class).getCopyAPI();
        same(2L, copy.copyIn("COPY copied FROM STDIN (FORMAT csv)", new StringReader("1,\"a,b\"\n2,\n")));
        StringWriter out = new StringWriter();
        same(2L, copy.copyOut("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT", out));
        same("1\ta,b\n2\t\\N\n", out.toString());
        try {
            copy.copyIn("COPY copied FROM STDIN", new StringReader("3\tx\nno number\ty\n"));
            check(false, "no number");
        } catch (SQLException expected) {
            same("22P02", expected.getSQLState());
        }
        same(List.of("2"), rows(db, "SELECT count(*) FROM copied"));
    }

    static void cancel(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            CompletableFuture<String> running = CompletableFuture.supplyAsync(() -> {
                try {
                    statement.executeQuery(ENDLESS);
                    return "it ended";
                } catch (SQLException canceled) {
                    return canceled.getSQLState();
                }
            });
            // Only a statement that has begun can be canceled, so the client asks until it has.
            while (!within(running, 50)) {
                statement.cancel();
            }
            same("57014", running.get());
            same(List.of("1"), rows(db, "SELECT 1"));
            statement.setQueryTimeout(1);
            same("57014", sqlstate(() -> statement.executeQuery(ENDLESS)));
        }
        run(db, "SET statement_timeout = 50");
        same("57014", sqlstate(db, ENDLESS));
    }

    // ---------------------------------------------------------------- what a database tells of itself

    static void resultMetaData(Connection db) throws Exception {
        run(db, "CREATE TABLE shown (id int PRIMARY KEY, price numeric(12,3), name varchar(5) NOT NULL, at timestamptz)");
        try (PreparedStatement select = db.prepareStatement("SELECT id, price, name, at, length(name) AS n FROM shown WHERE id > ?")) {
            same(Types.INTEGER, select.getParameterMetaData().getParameterType(1));
            ResultSetMetaData shown = select.getMetaData();
            List<String> columns = new ArrayList<>();
            for (int i = 1; i <= shown.getColumnCount(); i++) {
                columns.add(String.join(" ", shown.getColumnLabel(i), shown.getColumnTypeName(i), shown.getColumnClassName(i)));
            }
            same(List.of("id int4 java.lang.Integer", "price numeric java.math.BigDecimal", "name varchar java.lang.String",
                    "at timestamptz java.sql.Timestamp", "n int4 java.lang.Integer"), columns);
            same(12, shown.getPrecision(2));
            same(3, shown.getScale(2));
            same(5, shown.getPrecision(3));
            same(ResultSetMetaData.columnNoNulls, shown.isNullable(3));
            same("shown", ((org.postgresql.PGResultSetMetaData) shown).getBaseTableName(1));
        }
        try (PreparedStatement grouped = db.prepareStatement("SELECT name, count(*), row_number() OVER (ORDER BY name) FROM shown GROUP BY name")) {
            same(ResultSetMetaData.columnNoNulls, grouped.getMetaData().isNullable(1));
            same(ResultSetMetaData.columnNullableUnknown, grouped.getMetaData().isNullable(2));
        }
    }

    static void relations(Connection db) throws Exception {
        objects(db, "catalog");
        DatabaseMetaData tells = db.getMetaData();
        same(List.of("catalog_item|TABLE|what is sold", "catalog_sale|TABLE|null"),
                columns(tells.getTables(null, "public", "catalog\\_%", new String[] {"TABLE"}), "TABLE_NAME", "TABLE_TYPE", "REMARKS"));
        same(List.of("catalog_sold|MATERIALIZED VIEW", "catalog_cheap|VIEW", "catalog_sale$errors|VIEW", "catalog_sold$errors|VIEW"),
                columns(tells.getTables(null, "public", "catalog%", new String[] {"VIEW", "MATERIALIZED VIEW"}), "TABLE_NAME", "TABLE_TYPE"));
        check(columns(tells.getSchemas(), "TABLE_SCHEM").containsAll(List.of("public", "pg_catalog", "information_schema")), "schemas");
        same(List.of("thalweg"), columns(tells.getCatalogs(), "TABLE_CAT"));
        check(columns(tells.getTableTypes(), "TABLE_TYPE").contains("MATERIALIZED VIEW"), "types of tables");
        same(List.of("catalog_twice"), columns(tells.getFunctions(null, "public", "catalog%"), "FUNCTION_NAME"));
        same(List.of("returnValue|int8", "x|int8"), columns(tells.getFunctionColumns(null, "public", "catalog%", "x"), "COLUMN_NAME", "TYPE_NAME"));
    }

    static void columnsAndKeys(Connection db) throws Exception {
        objects(db, "keys");
        DatabaseMetaData tells = db.getMetaData();
        same(List.of("id|-5|int8|19|0|NO|null|null", "part|4|int4|10|0|NO|null|null", "name|12|varchar|5|0|NO|null|null",
                "price|2|numeric|12|3|YES|1.5|without tax", "tags|2003|_text|2147483647|0|YES|null|null"),
                columns(tells.getColumns(null, "public", "keys_item", null), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE",
                        "DECIMAL_DIGITS", "IS_NULLABLE", "COLUMN_DEF", "REMARKS"));
        same(List.of("item|int8", "n|int8"), columns(tells.getColumns(null, null, "keys_sold", "%"), "COLUMN_NAME", "TYPE_NAME"));
        same(List.of("id|1|keys_item_pkey", "part|2|keys_item_pkey"),
                columns(tells.getPrimaryKeys(null, "public", "keys_item"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"));
        same(List.of("keys_item_pkey|id|f", "keys_item_pkey|part|f"),
                columns(tells.getIndexInfo(null, "public", "keys_item", true, false), "INDEX_NAME", "COLUMN_NAME", "NON_UNIQUE"));
        same(List.of("id", "part"), columns(tells.getBestRowIdentifier(null, "public", "keys_item", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME"));
        same(List.of(), columns(tells.getImportedKeys(null, "public", "keys_item"), "FKTABLE_NAME"));
        same(List.of(), columns(tells.getExportedKeys(null, "public", "keys_item"), "FKTABLE_NAME"));
        same(List.of(), columns(tells.getCrossReference(null, null, "keys_item", null, null, "keys_item"), "FKTABLE_NAME"));
    }

    static void otherMetaData(Connection db) throws Exception {
        DatabaseMetaData tells = db.getMetaData();
        same("PostgreSQL", tells.getDatabaseProductName());
        same(15, tells.getDatabaseMajorVersion());
        check(columns(tells.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int8", "numeric", "timestamptz", "jsonb", "_text")), "types");
        check(tells.getSQLKeywords().contains("analyze"), "keywords");
        check(tells.getMaxColumnNameLength() == 63 && tells.getMaxIndexLength() >= 0, "limits");
        columns(tells.getProcedures(null, null, "%"), "PROCEDURE_NAME");
        columns(tells.getUDTs(null, null, "%", null), "TYPE_NAME");
        columns(tells.getTablePrivileges(null, "public", "%"), "GRANTEE");
        columns(tells.getColumnPrivileges(null, "public", "nothing", "%"), "GRANTEE");
        columns(tells.getVersionColumns(null, "public", "nothing"), "COLUMN_NAME");
        columns(tells.getClientInfoProperties(), "NAME");
    }

    /** A table, a stream, a view, a materialized view and a function. */
    static void objects(Connection db, String prefix) throws Exception {
        for (String statement : List.of(
                "CREATE TABLE %s_item (id bigint, part int, name varchar(5) NOT NULL, price numeric(12,3) DEFAULT 1.5, tags text[], PRIMARY KEY (id, part))",
                "CREATE STREAM %s_sale (item bigint, at timestamptz)",
                "CREATE VIEW %s_cheap AS SELECT id, name FROM %1$s_item WHERE price < 10",
                "CREATE MATERIALIZED VIEW %s_sold AS SELECT item, count(*) AS n FROM %1$s_sale GROUP BY item",
                "CREATE FUNCTION %s_twice(x bigint) RETURNS bigint LANGUAGE SQL RETURN x + x",
                "COMMENT ON TABLE %s_item IS 'what is sold'",
                "COMMENT ON COLUMN %s_item.price IS 'without tax'")) {
            run(db, String.format(statement, prefix));
        }
    }

    // ---------------------------------------------------------------- what other databases do not have, and LISTEN

    static void view(Connection db) throws Exception {
        objects(db, "seen");
        try (Connection other = connect(""); PreparedStatement insert = other.prepareStatement("INSERT INTO seen_sale VALUES (?, ?)")) {
            for (int n = 1; n <= 10; n++) {
                insert.setLong(1, 7);
                insert.setObject(2, OffsetDateTime.of(2024, 1, 1, 0, 0, n, 0, ZoneOffset.UTC));
                insert.executeUpdate();
                same(List.of("7|" + n), rows(db, "SELECT * FROM seen_sold"));
            }
        }
    }

    static void subscribeCursor(Connection db) throws Exception {
        objects(db, "declared");
        try (Connection other = connect("")) {
            run(other, "INSERT INTO declared_sale VALUES (1)");
            db.setAutoCommit(false);
            run(db, "DECLARE changes CURSOR FOR SUBSCRIBE declared_sold");
            same(List.of("1|1|1"), changes(rows(db, "FETCH 10 FROM changes")));
            run(other, "INSERT INTO declared_sale VALUES (1)");
            List<String> changes = new ArrayList<>();
            while (changes.size() < 2) {
                changes.addAll(changes(rows(db, "FETCH 10 FROM changes")));
            }
            Collections.sort(changes);
            same(List.of("-1|1|1", "1|1|2"), changes);
            db.commit();
        }
    }

    /** In a block and with a fetch size of one, each row is given out when it comes. */
    static void subscribeRows(Connection db) throws Exception {
        objects(db, "followed");
        try (Connection other = connect(""); Statement statement = db.createStatement()) {
            run(other, "INSERT INTO followed_sale VALUES (1)");
            db.setAutoCommit(false);
            statement.setFetchSize(1);
            ResultSet rows = statement.executeQuery("SUBSCRIBE followed_sold");
            check(rows.next(), "the snapshot");
            same(1L, rows.getLong("item"));
            run(other, "INSERT INTO followed_sale VALUES (2)");
            check(rows.next(), "a change");
            same(2L, rows.getLong("item"));
            rows.close();
            db.commit();
        }
    }

    static void subscribeCopy(Connection db) throws Exception {
        objects(db, "copying");
        try (Connection other = connect("")) {
            run(other, "INSERT INTO copying_sale VALUES (1)");
            CopyOut out = db.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SUBSCRIBE copying_sold) TO STDOUT");
            check(new String(out.readFromCopy()).endsWith("\t1\t1\t1\n"), "the snapshot");
            run(other, "INSERT INTO copying_sale VALUES (2)");
            check(new String(out.readFromCopy()).endsWith("\t1\t2\t1\n"), "a change");
            out.cancelCopy();
            // pgjdbc does not read how the COPY ended, so its next statement does.
            same("57014", sqlstate(db, "SELECT 1"));
            same(List.of("1"), rows(db, "SELECT 1"));
        }
    }

    static void listen(Connection db) throws Exception {
        objects(db, "heard");
        try (Connection other = connect("")) {
            PGConnection listening = db.unwrap(PGConnection.class);
            run(db, "LISTEN news", "LISTEN heard_sold");
            run(other, "NOTIFY news, 'hello'");
            PGNotification[] news = listening.getNotifications(PATIENCE_MS);
            same("news hello", news[0].getName() + " " + news[0].getParameter());
            run(other, "INSERT INTO heard_sale VALUES (1)");
            same("heard_sold", listening.getNotifications(PATIENCE_MS)[0].getName());
        }
    }

    // ---------------------------------------------------------------- helpers

    static Connection connect(String options) throws SQLException {
        String place = System.getenv("PGHOST") + ":" + System.getenv("PGPORT");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "/thalweg?user=thalweg&" + options);
    }

    static void run(Connection db, String... statements) throws SQLException {
        try (Statement statement = db.createStatement()) {
            for (String sql : statements) {
                statement.execute(sql);
            }
        }
    }

    static List<String> rows(Connection db, String query) throws SQLException {
        try (Statement statement = db.createStatement()) {
            return rows(statement.executeQuery(query));
        }
    }

    /** Rows as text, columns joined by a bar. */
    static List<String> rows(ResultSet from) throws SQLException {
        List<String> rows = new ArrayList<>();
        while (from.next()) {
            List<String> row = new ArrayList<>();
            for (int i = 1; i <= from.getMetaData().getColumnCount(); i++) {
                row.add(from.getString(i));
            }
            rows.add(String.join("|", row));
        }
        return rows;
    }

    /** The same of some columns. */
    static List<String> columns(ResultSet from, String... names) throws SQLException {
        List<String> rows = new ArrayList<>();
        while (from.next()) {
            List<String> row = new ArrayList<>();
            for (String name : names) {
                row.add(from.getString(name));
            }
            rows.add(String.join("|", row));
        }
        return rows;
    }

    /** Changes without their epochs. */
    static List<String> changes(List<String> rows) {
        return rows.stream().map(row -> row.substring(row.indexOf('|') + 1)).toList();
    }

    interface Work {
        void run() throws SQLException;
    }

    static String sqlstate(Connection db, String sql) {
        return sqlstate(() -> run(db, sql));
    }

    static String sqlstate(Work work) {
        try {
            work.run();
            return "it did not fail";
        } catch (SQLException failure) {
            return failure.getSQLState();
        }
    }

    static boolean within(CompletableFuture<?> running, int ms) throws InterruptedException, ExecutionException {
        try {
            running.get(ms, TimeUnit.MILLISECONDS);
            return true;
        } catch (TimeoutException still) {
            return false;
        }
    }

    static void same(Object expected, Object got) {
        check(Objects.equals(expected, got), "got " + got + ", not " + expected);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
