//! Statements in, summaries or errors out. A summary is one line; queries in it are printed as sqlparser prints them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;

/// One line that says all there is in a statement.
fn summary(statement: &Statement) -> String {
    match statement {
        Statement::Query(query) => format!("query {query}"),
        Statement::Explain(explain) => format!("explain{} {}", flag(explain.analyze, "analyze"), summary(&explain.statement)),
        Statement::Verify { name } => format!("verify {}", show(name)),
        Statement::ExplainView { name, analyze } => format!("explain{} view {}", flag(*analyze, "analyze"), show(name)),
        Statement::CreateStream(stream) => {
            let watermark =
                stream.watermark.as_ref().map(|w| format!(" watermark {} = {}", w.column, w.expression_sql)).unwrap_or_default();
            let CreateStream { name, if_not_exists, columns, options, .. } = stream;
            format!("stream {}{} ({}){watermark}{}", show(name), flag(*if_not_exists, "if-not-exists"), list(columns), with(options))
        }
        Statement::CreateTable(table) => {
            let CreateTable { name, if_not_exists, columns, primary_key, options, query } = table;
            let query = query.as_ref().map(|query| format!(" as {query}")).unwrap_or_default();
            let key = if primary_key.is_empty() { String::new() } else { format!(" key {}", primary_key.join(",")) };
            format!("table {}{} ({}){key}{}{query}", show(name), flag(*if_not_exists, "if-not-exists"), list(columns), with(options))
        }
        Statement::CreateView(view) => {
            let columns = if view.columns.is_empty() { String::new() } else { format!(" ({})", view.columns.join(",")) };
            let flags =
                [flag(view.materialized, "materialized"), flag(view.or_replace, "or-replace"), flag(view.if_not_exists, "if-not-exists")];
            format!("view {}{}{columns}{} as [{}]", show(&view.name), flags.concat(), with(&view.options), view.query_sql)
        }
        Statement::CreateSink(sink) => format!("sink {}{} as [{}]", show(&sink.name), with(&sink.options), sink.query_sql),
        Statement::CreateIndex(index) => {
            let CreateIndex { name, if_not_exists, on, columns } = index;
            let name = name.as_deref().unwrap_or("-");
            format!("index {name}{} on {} by {}", flag(*if_not_exists, "if-not-exists"), show(on), columns.join(","))
        }
        Statement::CreateSchema { name, if_not_exists } => format!("schema {name}{}", flag(*if_not_exists, "if-not-exists")),
        Statement::CreateFunction(function) => {
            let arguments: Vec<String> = function.arguments.iter().map(|(name, sql_type)| format!("{name}:{sql_type:?}")).collect();
            let CreateFunction { name, or_replace, returns, body_sql, .. } = &**function;
            format!("function {}{} ({}) {returns:?} = {body_sql}", show(name), flag(*or_replace, "or-replace"), arguments.join(","))
        }
        Statement::Drop(drop) => {
            let names: Vec<String> = drop.names.iter().map(show).collect();
            format!("drop {:?} {}{}{}", drop.kind, names.join(","), flag(drop.if_exists, "if-exists"), flag(drop.cascade, "cascade"))
        }
        Statement::Insert(insert) => insert_summary(insert),
        Statement::Update(update) => {
            let sets: Vec<String> = update.assignments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let Update { target, alias, from, predicate, returning, .. } = &**update;
            format!(
                "update {}{} set {}{}{}{}",
                show(target),
                as_alias(alias),
                sets.join(", "),
                part("from", from),
                part("where", predicate),
                part("returning", returning)
            )
        }
        Statement::Delete(delete) => {
            let Delete { target, alias, using, predicate, returning } = &**delete;
            format!(
                "delete {}{}{}{}{}",
                show(target),
                as_alias(alias),
                part("using", using),
                part("where", predicate),
                part("returning", returning)
            )
        }
        Statement::CopyIn(copy) => format!("copy-in {} ({}) {}", show(&copy.target), copy.columns.join(","), format(&copy.format)),
        Statement::CopyOut { source: CopySource::Query(query), format: f } => format!("copy-out {query} {}", format(f)),
        Statement::CopyOut { source: CopySource::Subscribe(subscribe), format: f } => {
            format!("copy-out {} {}", subscription(subscribe), format(f))
        }
        Statement::Subscribe(subscribe) => subscription(subscribe),
        other => format!("{other:?}"),
    }
}

fn insert_summary(insert: &Insert) -> String {
    let source = insert.source.as_ref().map_or_else(|| "default values".into(), ToString::to_string);
    let mut text = format!("insert {} ({}) {source}", show(&insert.target), insert.columns.join(","));
    if let Some(on) = &insert.on_conflict {
        write!(text, " on ({})", on.columns.join(",")).expect("a string");
        match &on.update {
            None => text.push_str(" nothing"),
            Some((sets, predicate)) => {
                let sets: Vec<String> = sets.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                write!(text, " set {}{}", sets.join(", "), part("where", predicate)).expect("a string");
            }
        }
    }
    text + &part("returning", &insert.returning)
}

fn subscription(subscribe: &Subscribe) -> String {
    format!("subscribe {}{}{}", subscribe.query, flag(!subscribe.snapshot, "no-snapshot"), flag(subscribe.progress, "progress"))
}

fn format(format: &CopyFormat) -> String {
    let CopyFormat { kind, delimiter, header, null, quote, escape } = format;
    format!("{kind:?} {delimiter:?}{} {null:?} {quote}{escape}", flag(*header, "header"))
}

fn show(name: &Name) -> String {
    name.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default() + &name.name
}

fn flag(on: bool, text: &str) -> String {
    if on { format!(" {text}") } else { String::new() }
}

fn as_alias(alias: &Option<String>) -> String {
    alias.as_ref().map(|alias| format!(" as {alias}")).unwrap_or_default()
}

/// What a part prints, behind its word; nothing when it is empty.
fn part<'a, T: std::fmt::Display + 'a>(word: &str, items: impl IntoIterator<Item = &'a T>) -> String {
    let items: Vec<String> = items.into_iter().map(ToString::to_string).collect();
    if items.is_empty() { String::new() } else { format!(" {word} {}", items.join(", ")) }
}

fn list(columns: &[ColumnDef]) -> String {
    let columns = columns.iter().map(|column| {
        let default = column.default_sql.as_ref().map(|default| format!(" default {default}")).unwrap_or_default();
        let flags = format!("{}{}", flag(column.not_null, "not-null"), flag(column.intake_time, "intake-time"));
        format!("{} {:?}{flags}{default}", column.name, column.sql_type)
    });
    columns.collect::<Vec<_>>().join(", ")
}

fn with(options: &BTreeMap<String, String>) -> String {
    let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if options.is_empty() { String::new() } else { format!(" with {}", options.join(",")) }
}

/// Statements and what should come of them; says all that came otherwise when it is dropped.
#[derive(Default)]
struct Table {
    wrong: String,
}

impl Table {
    /// A statement and its summary, or `SQLSTATE position message`.
    fn check(&mut self, sql: &str, expected: &str) {
        let found = match parse(sql) {
            Ok(statements) => statements.iter().map(|parsed| summary(&parsed.statement)).collect::<Vec<_>>().join(" ; "),
            Err(error) => {
                let position = error.position.map_or_else(|| "-".into(), |position| position.to_string());
                let hint = error.sqlstate == sqlstate::FEATURE_NOT_SUPPORTED && error.hint.is_none();
                format!("{} {position} {}{}", error.sqlstate, error.message, flag(hint, "WITHOUT A HINT"))
            }
        };
        if found != expected {
            write!(self.wrong, "\n{sql}\n  found    {found}\n  expected {expected}\n").expect("a string");
        }
    }
}

impl std::ops::Drop for Table {
    fn drop(&mut self) {
        assert!(self.wrong.is_empty() || std::thread::panicking(), "{}", self.wrong);
    }
}

#[test]
fn texts_are_cut_into_statements() {
    let mut table = Table::default();
    let sql = "  SELECT 1 ; -- one\n;/* two */ select ';' ;\nÄ";
    let error = parse(sql).expect_err("Ä is no statement");
    assert_eq!((error.position, error.message.as_str()), (Some(45), "syntax error at or near \"Ä\""));

    let sql = "  SELECT 1 ; -- one\n;/* tw\u{f6} */ select ';ü'\n  , 2 ;\n";
    let found: Vec<(String, usize)> = parse(sql).expect("two statements").into_iter().map(|parsed| (parsed.text, parsed.offset)).collect();
    assert_eq!(found, [("SELECT 1".into(), 2), ("select ';ü'\n  , 2".into(), 31)]);

    for empty in ["", "  ", ";", " ;; -- nothing\n"] {
        table.check(empty, "Empty");
    }
}

#[test]
fn streams() {
    let mut table = Table::default();
    table.check(
        "CREATE STREAM bid (auction BIGINT, price NUMERIC(10, 2) NOT NULL, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
         WITH (connector = 'kafka', properties.bootstrap.server = 'h:1', n = 5, neg = -1.5, ok = true, 'Scan.Start-Up' = 'x', flag)",
        "stream bid (auction BigInt, price Numeric(Some((10, 2))) not-null, ts Timestamp) watermark ts = ts - INTERVAL '5 seconds' \
         with connector=kafka,flag=true,n=5,neg=-1.5,ok=true,properties.bootstrap.server=h:1,scan.start-up=x",
    );
    table.check("create source if not exists S with (connector='nexmark')", "stream s if-not-exists () with connector=nexmark");
    table.check("CREATE STREAM x.\"S t\" (\"A\" int)", "stream x.S t (A Integer)");
    table.check(
        "CREATE STREAM s (a int) WITH (connector = 'kafka') FORMAT PLAIN ENCODE JSON",
        "stream s (a Integer) with connector=kafka,format=json",
    );
    table.check(
        "CREATE STREAM s (at timestamptz DEFAULT now() NOT NULL, b int)",
        "stream s (at TimestampTz not-null default now(), b Integer)",
    );
    table.check("CREATE STREAM s (a int PRIMARY KEY)", "0A000 17 a stream has no primary key: its rows are never changed");
    table.check("CREATE STREAM s (a int, WATERMARK FOR b AS b)", "42703 17 column \"b\" named in WATERMARK does not exist");
    table.check("CREATE STREAM s (p AS PROCTIME())", "stream s (p TimestampTz intake-time)");
    table.check("CREATE STREAM s (p AS (k + 1))", "0A000 20 computed columns other than PROCTIME() are not supported");
    table.check("CREATE STREAM s (p int AS PROCTIME())", "42804 24 column \"p\" is of type integer but PROCTIME() is a time stamp");
    table.check("CREATE TABLE t (p timestamp AS PROCTIME())", "0A000 16 column \"p\" of a table cannot be PROCTIME()");
    table.check(
        "CREATE STREAM s (p timestamptz DEFAULT PROCTIME())",
        "0A000 40 PROCTIME() is not supported: its value would not be a function of the inputs",
    );
    table.check("CREATE STREAM s (a int) WITH (k = 1, K = 2)", "42601 38 option \"k\" is given more than once");
    table.check("CREATE STREAM s (a int", "42601 23 syntax error at end of input");
}

#[test]
fn tables() {
    let mut table = Table::default();
    table.check(
        "CREATE TABLE seller (id BIGINT PRIMARY KEY, name varchar(5) DEFAULT 'a b', v int DEFAULT 1 + 2 NOT NULL, w text NULL)",
        "table seller (id BigInt not-null, name Varchar(Some(5)) default 'a b', v Integer not-null default 1 + 2, w Text) key id",
    );
    table.check(
        "CREATE TABLE IF NOT EXISTS t (a int, b int, CONSTRAINT k PRIMARY KEY (b, A))",
        "table t if-not-exists (a Integer not-null, b Integer not-null) key b,a",
    );
    table.check("CREATE TABLE t AS SELECT * FROM s", "table t () as SELECT * FROM s");
    table.check("CREATE TABLE t (x, y) AS SELECT 1, 2", "table t () as SELECT * FROM (SELECT 1, 2) AS \"t\" (\"x\", \"y\")");
    table.check("CREATE TABLE t (a int UNIQUE)", "0A000 23 UNIQUE constraints are not supported");
    table.check("CREATE TABLE t (a int, CHECK (a > 0))", "0A000 24 CHECK constraints are not supported");
    table.check("CREATE TABLE t (a int REFERENCES u (a))", "0A000 23 foreign keys are not supported");
    table.check("CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES u)", "0A000 24 foreign keys are not supported");
    table.check("CREATE TABLE t (a int, A text)", "42701 24 column \"a\" specified more than once");
    table.check("CREATE TABLE t (a int PRIMARY KEY, PRIMARY KEY (a))", "42P16 51 multiple primary keys for table \"t\" are not allowed");
    table.check("CREATE TABLE t (a int, PRIMARY KEY (b))", "42703 16 column \"b\" named in key does not exist");
    table.check("CREATE TABLE t", "42601 15 syntax error at end of input");
    table.check("CREATE TEMP TABLE t (a int)", "0A000 8 CREATE TEMP is not supported");
}

#[test]
fn types() {
    let mut table = Table::default();
    let columns = [
        ("boolean", "Boolean"),
        ("bool", "Boolean"),
        ("int2", "SmallInt"),
        ("smallint", "SmallInt"),
        ("int", "Integer"),
        ("int4", "Integer"),
        ("integer", "Integer"),
        ("int8", "BigInt"),
        ("bigint", "BigInt"),
        ("float4", "Real"),
        ("real", "Real"),
        ("float8", "Double"),
        ("double precision", "Double"),
        ("double", "Double"),
        ("float", "Double"),
        ("float(24)", "Real"),
        ("numeric", "Numeric(None)"),
        ("numeric(5)", "Numeric(Some((5, 0)))"),
        ("decimal(38,10)", "Numeric(Some((38, 10)))"),
        ("dec", "Numeric(None)"),
        ("text", "Text"),
        ("string", "Text"),
        ("varchar", "Varchar(None)"),
        ("character varying(7)", "Varchar(Some(7))"),
        ("char(3)", "Char(3)"),
        ("char", "Char(1)"),
        ("\"char\"", "Char(1)"),
        ("name", "Text"),
        ("bytea", "Bytea"),
        ("varbinary", "Bytea"),
        ("date", "Date"),
        ("time", "Time"),
        ("timestamp", "Timestamp"),
        ("timestamp(3)", "Timestamp"),
        ("timestamp without time zone", "Timestamp"),
        ("timestamp(6) with time zone", "TimestampTz"),
        ("timestamptz", "TimestampTz"),
        ("timestamp_ltz(3)", "TimestampTz"),
        ("interval", "Interval"),
        ("uuid", "Uuid"),
        ("json", "Json"),
        ("jsonb", "Jsonb"),
        ("int[]", "Array(Integer)"),
        ("text[][]", "Array(Array(Text))"),
        ("int array", "Array(Integer)"),
        ("ARRAY<INT>", "Array(Integer)"),
        ("ARRAY<ARRAY<varchar(2)>>", "Array(Array(Varchar(Some(2))))"),
        ("STRUCT<a INT, b TEXT>", "Struct([(\"a\", Integer), (\"b\", Text)])"),
        ("ROW(a INT)", "Struct([(\"a\", Integer)])"),
        (
            "ROW<A ARRAY<STRUCT<b int[]>>, c ROW(d date)[]>",
            "Struct([(\"a\", Array(Struct([(\"b\", Array(Integer))]))), (\"c\", Array(Struct([(\"d\", Date)])))])",
        ),
    ];
    for (declared, expected) in columns {
        table.check(&format!("CREATE TABLE t (c {declared}, d int)"), &format!("table t (c {expected}, d Integer)"));
    }
    table.check("CREATE TABLE t (a int, b intt)", "42704 26 type \"intt\" does not exist");
    table.check("CREATE TABLE t (a numeric(39))", "22023 19 NUMERIC precision 39 must be between 1 and 38");
    table.check("CREATE TABLE t (a numeric(3, 4))", "22023 19 NUMERIC scale 4 must be between 0 and precision 3");
    table.check("CREATE TABLE t (a varchar(0))", "22023 19 length for type varchar must be at least 1");
    table.check("CREATE TABLE t (a timetz)", "0A000 19 type time with time zone is not supported");
    table.check("CREATE TABLE t (a serial)", "0A000 19 type serial is not supported");
    table.check("CREATE TABLE t (a ARRAY<INT>>)", "42601 28 syntax error at or near \">>\"");
}

#[test]
fn views_and_sinks() {
    let mut table = Table::default();
    table.check("CREATE MATERIALIZED VIEW v AS SELECT a FROM t", "view v materialized as [SELECT a FROM t]");
    table.check("CREATE OR REPLACE VIEW s.v (x, \"Y\") AS (SELECT 1, 2)", "view s.v or-replace (x,Y) as [(SELECT 1, 2)]");
    table.check(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v WITH (retention = '0') AS\n SELECT  *\n FROM TUMBLE(bid, ts, INTERVAL '1 minute') -- x\n EMIT CHANGES;",
        "view v materialized if-not-exists with retention=0 as [SELECT  *\n FROM TUMBLE(bid, ts, INTERVAL '1 minute')]",
    );
    table.check("CREATE VIEW v AS TABLE t", "view v as [TABLE t]");
    table.check("CREATE MATERIALIZED VIEW v AS SELECT 1 FROM t EMIT ON WINDOW CLOSE", "0A000 8 EMIT ON WINDOW CLOSE is not supported yet");
    table.check("SELECT 1 FROM t EMIT ON WINDOW CLOSE", "0A000 1 EMIT ON WINDOW CLOSE is not supported yet");
    table.check("CREATE SINK s FROM v WITH (connector = 'blackhole')", "sink s with connector=blackhole as [SELECT * FROM v]");
    table.check(
        "CREATE SINK s AS SELECT a FROM v WITH (connector = 'file', path = 'x') FORMAT PLAIN ENCODE CSV",
        "sink s with connector=file,format=csv,path=x as [SELECT a FROM v]",
    );
    table.check(
        "CREATE SINK s WITH (a = 1) AS WITH x AS (SELECT 1) SELECT * FROM x",
        "sink s with a=1 as [WITH x AS (SELECT 1) SELECT * FROM x]",
    );
    table.check(
        "CREATE SINK s AS WITH x AS (SELECT 1) SELECT * FROM x WITH (a = 1)",
        "sink s with a=1 as [WITH x AS (SELECT 1) SELECT * FROM x]",
    );
    table.check("CREATE SCHEMA IF NOT EXISTS S", "schema s if-not-exists");
    table.check("CREATE VIEW v AS SELECT FROM )", "42601 30 syntax error at or near \")\"");
}

#[test]
fn functions() {
    let mut table = Table::default();
    table.check(
        "CREATE FUNCTION count_char(s text, c varchar(1)) RETURNS bigint LANGUAGE SQL IMMUTABLE AS $$ SELECT length(s) - length(replace(s, c, '')) $$",
        "function count_char (s:Text,c:Varchar(Some(1))) BigInt = length(s) - length(replace(s, c, ''))",
    );
    table.check(
        "CREATE OR REPLACE FUNCTION f(double precision, int) RETURNS int RETURN $1 + $2",
        "function f or-replace (:Double,:Integer) Integer = $1 + $2",
    );
    table.check(
        "CREATE FUNCTION f(date date) RETURNS date LANGUAGE sql STRICT AS 'SELECT date + 1 AS x;'",
        "function f (date:Date) Date = CASE WHEN \"date\" IS NULL THEN NULL ELSE date + 1 END",
    );
    table.check("CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE 'sql' VOLATILE", "function f () Integer = 1");
    table
        .check("CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'", "0A000 17 only LANGUAGE SQL is supported");
    table.check("CREATE FUNCTION f(a int) RETURNS int LANGUAGE javascript AS 'SELECT 1'", "0A000 17 only LANGUAGE SQL is supported");
    table.check("CREATE FUNCTION f(a int) RETURNS int AS 'SELECT a FROM t'", "0A000 38 the body of a SQL function must be one expression");
    table.check("CREATE FUNCTION f(a int) RETURNS int", "42P13 17 function \"f\" has no body");
    table.check("CREATE FUNCTION f(a int) RETURNS SETOF int AS 'SELECT 1'", "0A000 34 functions that return rows are not supported");
}

#[test]
fn indexes() {
    let mut table = Table::default();
    table.check("CREATE INDEX i ON t (a); CREATE INDEX ON s.t (a, \"B\")", "index i on t by a ; index - on s.t by a,B");
    table.check(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t USING btree (a DESC, b ASC NULLS LAST)",
        "index i if-not-exists on t by a,b",
    );
    table.check("CREATE INDEX i ON t USING gin (a)", "0A000 27 access method \"gin\" is not supported");
    let no_expressions = "0A000 25 expressions, COLLATE and operator classes are not supported in an index";
    for column in ["lower(a)", "(a + 1)", "a + 1", "a COLLATE \"C\"", "a text_pattern_ops"] {
        table.check(&format!("CREATE INDEX i ON t (b, {column})"), no_expressions);
    }
    table.check("CREATE INDEX i ON t (a) WHERE b > 0", "0A000 25 CREATE INDEX with WHERE is not supported");
    table.check("CREATE INDEX i ON t (a) INCLUDE (b)", "0A000 25 CREATE INDEX with INCLUDE is not supported");
    table.check("CREATE UNIQUE INDEX i ON t (a)", "0A000 8 CREATE UNIQUE is not supported");
    table.check("CREATE INDEX i ON t ()", "42601 22 syntax error at or near \")\"");
    table.check("CREATE INDEX i (a)", "42601 16 syntax error at or near \"(\"");
}

#[test]
fn drops_and_comments() {
    let mut table = Table::default();
    table.check("DROP STREAM a; DROP SOURCE IF EXISTS a, s.b CASCADE", "drop Stream a ; drop Stream a,s.b if-exists cascade");
    table.check("DROP MATERIALIZED VIEW v RESTRICT; DROP VIEW v; DROP TABLE t", "drop MaterializedView v ; drop View v ; drop Table t");
    table.check("DROP SINK s; DROP FUNCTION f(int, text); DROP SCHEMA x", "drop Sink s ; drop Function f ; drop Schema x");
    table.check("DROP INDEX i; DROP INDEX CONCURRENTLY IF EXISTS i, s.j CASCADE", "drop Index i ; drop Index i,s.j if-exists cascade");
    table.check("DROP TRIGGER i", "0A000 6 DROP TRIGGER is not supported");
    table.check("DROP TABLE t CASCADE x", "42601 22 syntax error at or near \"x\"");
    table.check(
        "COMMENT ON TABLE t IS 'it''s'",
        "Comment { kind: Table, name: Name { schema: None, name: \"t\" }, column: None, comment: Some(\"it's\") }",
    );
    table.check(
        "COMMENT ON COLUMN s.t.C IS NULL",
        "Comment { kind: Table, name: Name { schema: Some(\"s\"), name: \"t\" }, column: Some(\"c\"), comment: None }",
    );
}

#[test]
fn writes() {
    let mut table = Table::default();
    table.check("INSERT INTO t VALUES (1, DEFAULT), (2, 'x')", "insert t () VALUES (1, DEFAULT), (2, 'x')");
    table.check("INSERT INTO s.T (a, \"B\") SELECT 1, 2 RETURNING *, a + 1 AS n", "insert s.t (a,B) SELECT 1, 2 returning *, a + 1 AS n");
    table.check("INSERT INTO t DEFAULT VALUES", "insert t () default values");
    table.check("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "insert t () VALUES (1) on () nothing");
    table.check(
        "INSERT INTO t VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = t.c + 1 WHERE t.b <> excluded.b",
        "insert t () VALUES (1, 2) on (a) set b = excluded.b, c = t.c + 1 where t.b <> excluded.b",
    );
    table
        .check("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "42601 1 ON CONFLICT DO UPDATE requires the columns of the key");
    table.check("INSERT t VALUES (1)", "42601 8 syntax error at or near \"t\"");
    table.check("UPDATE t SET a = a + 1, (b, c) = (1, 2)", "update t set a = a + 1, b = 1, c = 2");
    table.check(
        "UPDATE t AS x SET a = u.a FROM u JOIN w ON true WHERE x.k = u.k RETURNING x.*",
        "update t as x set a = u.a from u JOIN w ON true where x.k = u.k returning x.*",
    );
    table.check("UPDATE t SET a = 1, a = 2", "42601 1 multiple assignments to same column \"a\"");
    table.check("DELETE FROM t", "delete t");
    table.check("DELETE FROM t x USING u, w WHERE x.a = u.a RETURNING a", "delete t as x using u, w where x.a = u.a returning a");
    table.check("TRUNCATE TABLE t; TRUNCATE t", "delete t ; delete t");
    table.check(
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
        "0A000 12 statements that write are not supported in WITH or as a query",
    );
}

#[test]
fn copies() {
    let mut table = Table::default();
    let text = "Text '\\t' \"\\\\N\" \"\"";
    table.check("COPY t FROM STDIN", &format!("copy-in t () {text}"));
    table.check(
        "COPY s.t (a, B) FROM stdin WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x')",
        "copy-in s.t (a,b) Csv ';' header \"x\" \"\"",
    );
    table.check(
        "COPY t FROM STDIN (FORMAT 'csv', HEADER false, QUOTE '''', ESCAPE E'\\\\', ENCODING 'UTF8')",
        "copy-in t () Csv ',' \"\" '\\",
    );
    table.check("COPY t FROM STDIN CSV HEADER DELIMITER AS '|' NULL AS ''", "copy-in t () Csv '|' header \"\" \"\"");
    table.check("COPY t FROM STDIN WITH DELIMITER E'\\t' NULL 'NULL'", "copy-in t () Text '\\t' \"NULL\" \"\"");
    table.check("COPY t (a) TO STDOUT", &format!("copy-out SELECT \"a\" FROM t {text}"));
    table.check("COPY (SELECT 1) TO STDOUT WITH (FORMAT binary)", "copy-out SELECT 1 Binary '\\t' \"\\\\N\" \"\"");
    table.check("COPY (SUBSCRIBE v) TO STDOUT", &format!("copy-out subscribe SELECT * FROM v {text}"));
    table.check(
        "COPY (SUBSCRIBE TO (SELECT 1) WITH (SNAPSHOT = false, PROGRESS)) TO STDOUT CSV",
        "copy-out subscribe SELECT 1 no-snapshot progress Csv ',' \"\" \"\"",
    );
    table.check("COPY t FROM '/etc/passwd'", "0A000 13 COPY with a file on the server is not supported");
    table.check("COPY t FROM STDIN (FORMAT xml)", "22023 20 COPY format \"xml\" not recognized");
    table.check("COPY t FROM STDIN (DELIMITER 'ab')", "22023 30 COPY delimiter must be a single one-byte character");
    table.check("COPY t FROM STDIN WHERE a > 1", "42601 19 syntax error at or near \"WHERE\"");
}

#[test]
fn sessions() {
    let mut table = Table::default();
    table.check(
        "SUBSCRIBE v; SUBSCRIBE TO public.v WITH (SNAPSHOT = false)",
        "subscribe SELECT * FROM v ; subscribe SELECT * FROM public.v no-snapshot",
    );
    table.check(
        "EXPLAIN SELECT 1; EXPLAIN ANALYZE VERBOSE SELECT 1; EXPLAIN (ANALYZE, COSTS off) SELECT 1",
        "explain query SELECT 1 ; explain analyze query SELECT 1 ; explain analyze query SELECT 1",
    );
    table.check("EXPLAIN (SELECT 1)", "explain query (SELECT 1)");
    table.check("EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1", "explain view v materialized as [SELECT 1]");
    table.check("EXPLAIN ANALYZE MATERIALIZED VIEW v", "explain analyze view v");
    table.check("verify materialized view s.v", "verify s.v");
    table.check("EXPLAIN DELETE FROM t", "0A000 9 EXPLAIN DELETE is not supported");
    let set = |name: &str, value: &str, local: bool| format!("Set {{ name: \"{name}\", value: {value}, local: {local} }}");
    table.check("SET x = 1", &set("x", "Some(\"1\")", false));
    table.check("SET SESSION datafusion.X TO 'It'", &set("datafusion.x", "Some(\"It\")", false));
    table.check("SET LOCAL search_path TO \"A\", Public, 'c'", &set("search_path", "Some(\"A, public, c\")", true));
    table.check("SET x TO DEFAULT", &set("x", "None", false));
    table.check("SET TIME ZONE 'UTC'", &set("timezone", "Some(\"UTC\")", false));
    table.check("SET TIME ZONE LOCAL", &set("timezone", "None", false));
    table.check("SET NAMES 'UTF8'", &set("client_encoding", "Some(\"UTF8\")", false));
    table.check("RESET ALL", &set("all", "None", false));
    table.check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; DISCARD ALL; UNLISTEN *",
        "SetTransaction { modes: Modes { isolation: None, read_only: Some(true) }, session: true } ; Discard { what: All } ; Unlisten { channel: None }",
    );
    table.check(
        "BEGIN; START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
        "Begin { modes: Modes { isolation: None, read_only: None } } ; Begin { modes: Modes { isolation: Some(\"repeatable read\"), read_only: Some(true) } }",
    );
    table.check(
        "begin isolation level read committed; COMMIT WORK; END; ROLLBACK TRANSACTION; ABORT",
        "Begin { modes: Modes { isolation: Some(\"read committed\"), read_only: None } } ; Commit ; Commit ; Rollback ; Rollback",
    );
    table.check("BEGIN ISOLATION LEVEL SERIALIZABLE", "0A000 7 isolation level SERIALIZABLE is not supported yet");
    table.check(
        "begin isolation level serializable read only deferrable",
        "Begin { modes: Modes { isolation: Some(\"serializable\"), read_only: Some(true) } }",
    );
    table.check(
        "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; ROLLBACK TO \"B\"; RELEASE a",
        "Savepoint { name: \"a\" } ; RollbackTo { name: \"a\" } ; RollbackTo { name: \"B\" } ; Release { name: \"a\" }",
    );
    table.check("SHOW STREAMS; SHOW SOURCES; SHOW MATERIALIZED VIEWS; SHOW JOBS", "ShowObjects { what: Streams } ; ShowObjects { what: Streams } ; ShowObjects { what: MaterializedViews } ; ShowObjects { what: Jobs }");
    let created = |name: &str| format!("ShowCreate {{ name: Name {{ schema: None, name: \"{name}\" }} }}");
    table.check("SHOW CREATE MATERIALIZED VIEW v", &created("v"));
    table.check("SHOW CREATE TABLE \"T\"", &created("T"));
    table.check("SHOW CREATE stream", &created("stream"));
    let setting = |name: &str| format!("ShowSetting {{ name: \"{name}\" }}");
    table.check("SHOW ALL", &setting("all"));
    table.check("SHOW TRANSACTION ISOLATION LEVEL", &setting("transaction_isolation"));
    table.check("SHOW Server_Version", &setting("server_version"));
    table.check("WAIT FOR bid", "WaitFor { name: Name { schema: None, name: \"bid\" } }");
}

#[test]
fn queries() {
    let mut table = Table::default();
    table.check(
        "SELECT 1; VALUES (1), (2); WITH a AS (SELECT 1) SELECT * FROM a; (SELECT 1) UNION ALL SELECT 2",
        "query SELECT 1 ; query VALUES (1), (2) ; query WITH a AS (SELECT 1) SELECT * FROM a ; query (SELECT 1) UNION ALL SELECT 2",
    );
    table.check("TABLE \"T\" ORDER BY a", "query SELECT * FROM \"T\" ORDER BY a");
    table.check("SELECT 1 WHERE EXISTS (TABLE t) UNION TABLE s.u", "query SELECT 1 WHERE EXISTS (SELECT * FROM t) UNION SELECT * FROM s.u");
    table.check("SELECT 2 ^ 3", "query SELECT 2 ^ 3");
    table.check("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", "query SELECT a FROM t LIMIT 3");
    table.check("SELECT a FROM t OFFSET 2 FETCH NEXT ROW ONLY", "query SELECT a FROM t LIMIT 1 OFFSET 2");
    table.check("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b", "query SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b");
    table.check("SELECT count(*) FILTER (WHERE a > 1) FROM t EMIT CHANGES", "query SELECT count(*) FILTER (WHERE a > 1) FROM t");
    table.check("SELECT a FROM t EMIT CHANGES", "query SELECT a FROM t");
    table.check("SELECT 'a'\n'b', E'\\n', $1", "query SELECT 'ab', E'\\n', $1");
    table.check("SELECT PROCTIME()", "0A000 8 PROCTIME() is not supported: its value would not be a function of the inputs");
    table.check("SELECT * FROM t TABLESAMPLE SYSTEM (10)", "0A000 15 TABLESAMPLE is not supported");
    table.check("SELECT * FROM t FOR UPDATE", "0A000 1 FOR UPDATE and FOR SHARE are not supported");
    table.check("SELECT a INTO b FROM t", "0A000 1 SELECT INTO is not supported");
    table.check("SELECT * FROM f(1) WITH ORDINALITY", "0A000 15 WITH ORDINALITY is not supported");
}

#[test]
fn syntax_errors_have_places() {
    let mut table = Table::default();
    table.check("SELEC 1", "42601 1 syntax error at or near \"SELEC\"");
    table.check("SELECT 1;\nSELECT FROM t WHERE;", "42601 30 syntax error at end of input");
    table.check("SELECT 'ä', \n  1 +* 2", "42601 19 syntax error at or near \"*\"");
    table.check("SELECT (1", "42601 10 syntax error at end of input");
    table.check("SELECT 1 2", "42601 10 syntax error at or near \"2\"");
    table.check("SELECT * FROM t GROUP a", "42601 17 syntax error at or near \"GROUP\"");
    table.check("SELECT 'abc", "42601 8 unterminated string literal at or near \"'abc\"");
    table.check("SELECT 1; FROB", "42601 11 syntax error at or near \"FROB\"");
    table.check("GRANT SELECT ON t TO x", "0A000 1 GRANT is not supported");
    table.check("SELECT 1; ALTER TABLE t ADD COLUMN a int", "0A000 11 ALTER is not supported");
    table.check("\"SELECT\" 1", "42601 1 syntax error at or near \"\"SELECT\"\"");
}

/// On a stack as small as tokio's workers have.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(16 << 20).spawn(test).expect("a thread").join().expect("no panic");
}

fn too_deep(sql: &str) {
    let error = parse(sql).err().unwrap_or_else(|| panic!("accepted: {}", &sql[..60]));
    assert_eq!(error.sqlstate, sqlstate::STATEMENT_TOO_COMPLEX, "{}", &sql[..60]);
    assert!(error.position.is_some());
}

#[test]
fn depth_is_bounded() {
    on_a_small_stack(|| {
        let n = 10_000;
        too_deep(&format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)));
        too_deep(&format!("SELECT {}true", "NOT ".repeat(n)));
        too_deep(&format!("SELECT {}1", "- ".repeat(n)));
        too_deep(&format!("SELECT 1{}", " + 1".repeat(n)));
        too_deep(&format!("SELECT 1{}", "::int".repeat(n)));
        too_deep(&format!("SELECT a{}", "[1]".repeat(n)));
        too_deep(&format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n), " END".repeat(n)));
        too_deep(&format!("SELECT {}1{}", "f(".repeat(n), ")".repeat(n)));
        too_deep(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000)));
        too_deep(&format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ") x".repeat(n)));
        too_deep(&format!("SELECT * FROM {}a JOIN b ON true{}", "(".repeat(n), ")".repeat(n)));
        too_deep(&format!("SELECT * FROM a{}", " JOIN b ON true".repeat(n)));
        too_deep(&format!("CREATE TABLE t (a {}int{})", "ARRAY<".repeat(n), ">".repeat(n)));
    });
}

#[test]
fn what_is_long_but_not_deep_is_read() {
    on_a_small_stack(|| {
        let n = 10_000;
        parse(&format!("SELECT 1 IN ({}1)", "1, ".repeat(n))).expect("a long list");
        parse(&format!("INSERT INTO t VALUES (1 + 1, -2){}", ", (1 + 1, -2)".repeat(n))).expect("many rows");
        parse(&"SELECT 1; ".repeat(n)).expect("many statements");
        let chain = format!("SELECT a = 1{}", " OR a = 1".repeat(490));
        let parsed = parse(&chain).expect("a chain of 980 operators");
        let copy = parsed.clone();
        assert_eq!(summary(&parsed[0].statement), summary(&copy[0].statement));
        parse(&format!("SELECT {}1{}", "(".repeat(80), ")".repeat(80))).expect("some parentheses");
        parse(&format!("SELECT {}1{}", "f(".repeat(80), ")".repeat(80))).expect("nested calls, in linear time");
    });
}

#[test]
fn what_is_read_twice_is_bounded() {
    on_a_small_stack(|| {
        let n = 40;
        let nested = format!("SELECT * FROM {}a JOIN b ON true{}", "(".repeat(n), ") JOIN b ON true".repeat(n));
        let joins = format!("SELECT * FROM {}(SELECT a + 1 FROM t) x JOIN b ON a = 1{}", "(".repeat(n), ") JOIN b ON a = 1".repeat(n));
        for sql in [nested, joins] {
            // Read or refused, but soon.
            if let Err(error) = parse(&sql) {
                assert_eq!(error.sqlstate, sqlstate::STATEMENT_TOO_COMPLEX);
            }
        }
    });
}

#[test]
fn cursors_and_channels() {
    let mut table = Table::default();
    let fetch = |n_rows: &str, moves: bool, timeout: &str| {
        format!("Fetch(Fetch {{ cursor: \"c\", n_rows: {n_rows}, moves: {moves}, timeout: {timeout} }})")
    };
    table.check("FETCH c", &fetch("Some(1)", false, "None"));
    table.check("FETCH NEXT FROM c", &fetch("Some(1)", false, "None"));
    table.check("FETCH 10 IN \"c\"", &fetch("Some(10)", false, "None"));
    table.check("MOVE FORWARD 7 c", &fetch("Some(7)", true, "None"));
    table.check("FETCH FORWARD ALL FROM c", &fetch("None", false, "None"));
    table.check("FETCH 2 c WITH (TIMEOUT = '1.5s')", &fetch("Some(2)", false, "Some(1.5s)"));
    table.check("FETCH PRIOR FROM c", "55000 7 cursor can only scan forward");
    table.check("FETCH -1 FROM c", "55000 7 cursor can only scan forward");
    table.check("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000 11 SCROLL cursors are not supported");
    table.check("DECLARE c CURSOR FOR DROP TABLE t", "42601 22 a cursor is declared for a query or SUBSCRIBE");
    table.check("PREPARE p AS DROP TABLE t", "42601 14 only SELECT, VALUES, INSERT, UPDATE and DELETE can be prepared");
    table.check("CLOSE ALL; DEALLOCATE PREPARE p", "CloseCursor { name: None } ; Deallocate { name: Some(\"p\") }");
    table.check(
        "LISTEN a; UNLISTEN *; NOTIFY a, 'b''c'",
        "Listen { channel: \"a\" } ; Unlisten { channel: None } ; Notify { channel: \"a\", payload: \"b'c\" }",
    );
}
