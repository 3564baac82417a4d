//! What one statement asks for, parsed but not yet resolved against a catalog. Outside `plan/` the SQL AST inside these
//! variants is carried, never looked into.

use std::collections::BTreeMap;

use catalog::{ObjectKind, SqlType};
use datafusion::sql::sqlparser::ast;

/// One statement of a query string.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What is asked for.
    pub statement: Statement,
    /// Its own text, without the semicolon.
    pub text: String,
    /// Where it starts in the query string, in characters, 0-based: added to error positions.
    pub offset: usize,
    /// The same as line and column, 1-based, as the AST's spans count them.
    pub start: (u64, u64),
}

/// A possibly qualified name; parts as Postgres folds them (lower case unless quoted).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// `public` when absent, or as found by the search path.
    pub schema: Option<String>,
    /// The object's own name.
    pub name: String,
}

/// A statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// SELECT, VALUES, WITH, TABLE; windows in FROM are already rewritten.
    Query(Box<ast::Query>),
    /// EXPLAIN of a query, or of `CREATE MATERIALIZED VIEW`.
    Explain(Explain),
    /// EXPLAIN [ANALYZE] MATERIALIZED VIEW name: of a view there is.
    ExplainView {
        /** Which. */
        name: Name,
        /** With what its operators have done. */
        analyze: bool,
    },
    /// CREATE STREAM (or SOURCE).
    CreateStream(CreateStream),
    /// CREATE TABLE.
    CreateTable(CreateTable),
    /// CREATE [MATERIALIZED] VIEW.
    CreateView(CreateView),
    /// CREATE SINK.
    CreateSink(CreateSink),
    /// CREATE INDEX.
    CreateIndex(CreateIndex),
    /// CREATE SCHEMA.
    CreateSchema {
        /** Its name. */
        name: String,
        /** No error when there. */
        if_not_exists: bool,
    },
    /// CREATE FUNCTION … LANGUAGE SQL.
    CreateFunction(Box<CreateFunction>),
    /// DROP …
    Drop(Drop),
    /// COMMENT ON …
    Comment {
        /** What kind. */
        kind: ObjectKind,
        /** Which. */
        name: Name,
        /** The column, for COMMENT ON COLUMN. */
        column: Option<String>,
        /** `None` removes it. */
        comment: Option<String>,
    },
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Box<Update>),
    /// DELETE.
    Delete(Box<Delete>),
    /// COPY relation FROM STDIN.
    CopyIn(CopyIn),
    /// COPY … TO STDOUT.
    CopyOut {
        /** What. */
        source: CopySource,
        /** How. */
        format: CopyFormat,
    },
    /// SUBSCRIBE relation, or a query.
    Subscribe(Subscribe),
    /// BEGIN / START TRANSACTION.
    Begin {
        /** Its level and whether it may write. */
        modes: Modes,
    },
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        /** What is set. */
        modes: Modes,
        /** For all transactions to come. */
        session: bool,
    },
    /// SAVEPOINT name.
    Savepoint {
        /** Its name; the same name may be given again. */
        name: String,
    },
    /// ROLLBACK TO name.
    RollbackTo {
        /** Which. */
        name: String,
    },
    /// RELEASE name.
    Release {
        /** Which. */
        name: String,
    },
    /// COMMIT / END.
    Commit,
    /// ROLLBACK / ABORT.
    Rollback,
    /// SET name = value. `value` None is DEFAULT.
    Set {
        /** The setting. */
        name: String,
        /** Its new value. */
        value: Option<String>,
        /** SET LOCAL. */
        local: bool,
    },
    /// SHOW name of a setting.
    ShowSetting {
        /** The setting, or `all`. */
        name: String,
    },
    /// SHOW STREAMS, TABLES, VIEWS, MATERIALIZED VIEWS, SINKS, JOBS.
    ShowObjects {
        /** Which kinds. */
        what: ShowObjects,
    },
    /// SHOW CREATE …
    ShowCreate {
        /** Which. */
        name: Name,
    },
    /// VERIFY MATERIALIZED VIEW name: the rows in which it differs from its query.
    Verify {
        /** Which. */
        name: Name,
    },
    /// WAIT FOR name: a bounded source is done, or a view has caught up.
    WaitFor {
        /** Which. */
        name: Name,
    },
    /// PREPARE name (types) AS statement.
    Prepare(Box<Prepare>),
    /// EXECUTE name (arguments).
    Execute(Execute),
    /// DEALLOCATE.
    Deallocate {
        /** Which; `None` is all. */
        name: Option<String>,
    },
    /// DECLARE name CURSOR FOR query.
    DeclareCursor(Box<DeclareCursor>),
    /// FETCH and MOVE.
    Fetch(Fetch),
    /// CLOSE.
    CloseCursor {
        /** Which; `None` is all. */
        name: Option<String>,
    },
    /// DISCARD.
    Discard {
        /** What is thrown away. */
        what: Discard,
    },
    /// LISTEN channel.
    Listen {
        /** A name, or that of a materialized view. */
        channel: String,
    },
    /// UNLISTEN.
    Unlisten {
        /** Which; `None` is all. */
        channel: Option<String>,
    },
    /// NOTIFY channel, 'payload'.
    Notify {
        /** To whom. */
        channel: String,
        /** What; may be empty. */
        payload: String,
    },
    /// Accepted and without effect here; the tag to answer with.
    NoEffect {
        /** Command tag. */
        tag: &'static str,
    },
    /// Nothing between two semicolons.
    Empty,
}

impl Statement {
    /// Whether it writes what a query computes, which may take long.
    pub fn writes_a_query(&self) -> bool {
        match self {
            Self::Insert(insert) => insert.source.as_ref().is_some_and(|source| !matches!(source.body.as_ref(), ast::SetExpr::Values(_))),
            Self::Update(update) => !update.from.is_empty(),
            Self::Delete(delete) => !delete.using.is_empty(),
            _ => false,
        }
    }

    /// Whether its answer is a table of rows; COPY and commands have other answers.
    pub fn returns_rows(&self) -> bool {
        match self {
            Self::Query(_)
            | Self::Explain(_)
            | Self::Subscribe(_)
            | Self::ExplainView { .. }
            | Self::Verify { .. }
            | Self::ShowSetting { .. }
            | Self::ShowObjects { .. }
            | Self::ShowCreate { .. } => true,
            Self::Fetch(fetch) => !fetch.moves,
            Self::Insert(insert) => !insert.returning.is_empty(),
            Self::Update(update) => !update.returning.is_empty(),
            Self::Delete(delete) => !delete.returning.is_empty(),
            _ => false,
        }
    }
}

/// The modes of a transaction; `None` where nothing was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modes {
    /// As SHOW shows it; every level up to this one is given as snapshot isolation.
    pub isolation: Option<&'static str>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
}

/// PREPARE.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// Its name.
    pub name: String,
    /// Types of its first parameters, where they are said.
    pub types: Vec<Option<SqlType>>,
    /// What EXECUTE runs.
    pub statement: Parsed,
}

/// EXECUTE.
#[derive(Debug, Clone)]
pub struct Execute {
    /// Which statement.
    pub name: String,
    /// Values for its parameters.
    pub arguments: Vec<ast::Expr>,
}

/// DECLARE … CURSOR.
#[derive(Debug, Clone)]
pub struct DeclareCursor {
    /// Its name.
    pub name: String,
    /// BINARY: FETCH sends its rows in binary also in the simple protocol.
    pub binary: bool,
    /// WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// A query, or SUBSCRIBE.
    pub statement: Parsed,
}

/// FETCH and MOVE: always forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// From which cursor.
    pub cursor: String,
    /// How many rows; `None` is all that are left.
    pub n_rows: Option<u64>,
    /// MOVE: they are passed over.
    pub moves: bool,
    /// How long a cursor over SUBSCRIBE waits for them; `None` waits for the first.
    pub timeout: Option<std::time::Duration>,
}

/// What DISCARD throws away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Everything of the session.
    All,
    /// Plans: none are kept.
    Plans,
    /// Sequences: there are none.
    Sequences,
    /// Temporary tables: there are none.
    Temp,
}

/// What SHOW lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowObjects {
    /// Streams.
    Streams,
    /// Tables.
    Tables,
    /// Views and materialized views.
    Views,
    /// Materialized views.
    MaterializedViews,
    /// Sinks.
    Sinks,
    /// Indexes.
    Indexes,
    /// What runs: `thalweg.jobs`.
    Jobs,
}

/// EXPLAIN.
#[derive(Debug, Clone)]
pub struct Explain {
    /// EXPLAIN ANALYZE.
    pub analyze: bool,
    /// The statement explained.
    pub statement: Box<Statement>,
}

/// A column as declared.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Name.
    pub name: String,
    /// Declared type.
    pub sql_type: SqlType,
    /// NOT NULL or part of the primary key.
    pub not_null: bool,
    /// DEFAULT; may be volatile, its effect is logged.
    pub default: Option<ast::Expr>,
    /// DEFAULT as written.
    pub default_sql: Option<String>,
    /// `AS PROCTIME()`: it holds when the row was taken in.
    pub intake_time: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone)]
pub struct Watermark {
    /// The event-time column.
    pub column: String,
    /// As written.
    pub expression_sql: String,
}

/// CREATE STREAM.
#[derive(Debug, Clone)]
pub struct CreateStream {
    /// Name.
    pub name: Name,
    /// No error when there.
    pub if_not_exists: bool,
    /// Empty when the connector infers them.
    pub columns: Vec<ColumnDef>,
    /// Declared watermark.
    pub watermark: Option<Watermark>,
    /// `WITH (…)`, keys in lower case; no `connector` key means a push stream.
    pub options: BTreeMap<String, String>,
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Name.
    pub name: Name,
    /// No error when there.
    pub if_not_exists: bool,
    /// Columns; from the query for CREATE TABLE AS.
    pub columns: Vec<ColumnDef>,
    /// Names of the primary key's columns; empty when none.
    pub primary_key: Vec<String>,
    /// `WITH (…)`.
    pub options: BTreeMap<String, String>,
    /// CREATE TABLE … AS query.
    pub query: Option<Box<ast::Query>>,
}

/// CREATE [OR REPLACE] [MATERIALIZED] VIEW.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Name.
    pub name: Name,
    /// Kept current as data changes; else expanded where it is used.
    pub materialized: bool,
    /// OR REPLACE.
    pub or_replace: bool,
    /// No error when there.
    pub if_not_exists: bool,
    /// Column names given in parentheses.
    pub columns: Vec<String>,
    /// The query.
    pub query: Box<ast::Query>,
    /// The query as written (before rewriting): stored in the catalog, shown by SHOW CREATE.
    pub query_sql: String,
    /// `WITH (…)`.
    pub options: BTreeMap<String, String>,
}

/// CREATE INDEX [name] ON relation (column, …).
#[derive(Debug, Clone)]
pub struct CreateIndex {
    /// Its own name, in the schema of the relation; made of the relation's and the columns' when not given.
    pub name: Option<String>,
    /// No error when there.
    pub if_not_exists: bool,
    /// Of which relation.
    pub on: Name,
    /// Names of the columns.
    pub columns: Vec<String>,
}

/// CREATE SINK name FROM relation | AS query WITH (…).
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Name.
    pub name: Name,
    /// No error when there.
    pub if_not_exists: bool,
    /// The query; `FROM relation` is `SELECT * FROM relation`.
    pub query: Box<ast::Query>,
    /// The query as written.
    pub query_sql: String,
    /// `WITH (…)`.
    pub options: BTreeMap<String, String>,
}

/// CREATE FUNCTION f(args) RETURNS t LANGUAGE SQL AS $$ SELECT … $$ (or RETURN expr): a scalar expression.
#[derive(Debug, Clone)]
pub struct CreateFunction {
    /// Name.
    pub name: Name,
    /// OR REPLACE.
    pub or_replace: bool,
    /// Arguments; a name is empty when only the type is given.
    pub arguments: Vec<(String, SqlType)>,
    /// Result type.
    pub returns: SqlType,
    /// The body expression as SQL, over the argument names or `$1`….
    pub body_sql: String,
}

/// DROP.
#[derive(Debug, Clone)]
pub struct Drop {
    /// Kind named in the statement.
    pub kind: ObjectKind,
    /// Which.
    pub names: Vec<Name>,
    /// No error when missing.
    pub if_exists: bool,
    /// With all that depends on it.
    pub cascade: bool,
}

/// INSERT INTO target.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Table or push stream.
    pub target: Name,
    /// Columns given; all when empty.
    pub columns: Vec<String>,
    /// VALUES or SELECT; `None` is DEFAULT VALUES. `DEFAULT` inside VALUES is kept as an identifier named `default`.
    pub source: Option<Box<ast::Query>>,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
    /// RETURNING items; empty when absent.
    pub returning: Vec<ast::SelectItem>,
}

/// ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET … WHERE ….
#[derive(Debug, Clone)]
pub struct OnConflict {
    /// The conflict target; empty when absent.
    pub columns: Vec<String>,
    /// `None` is DO NOTHING; expressions may use `excluded.c`.
    pub update: Option<(Vec<(String, ast::Expr)>, Option<ast::Expr>)>,
}

/// UPDATE target SET … [FROM …] WHERE … RETURNING ….
#[derive(Debug, Clone)]
pub struct Update {
    /// The table.
    pub target: Name,
    /// Its alias.
    pub alias: Option<String>,
    /// column = expression.
    pub assignments: Vec<(String, ast::Expr)>,
    /// FROM items.
    pub from: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub predicate: Option<ast::Expr>,
    /// RETURNING items.
    pub returning: Vec<ast::SelectItem>,
}

/// DELETE FROM target [USING …] WHERE … RETURNING ….
#[derive(Debug, Clone)]
pub struct Delete {
    /// The table.
    pub target: Name,
    /// Its alias.
    pub alias: Option<String>,
    /// USING items.
    pub using: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub predicate: Option<ast::Expr>,
    /// RETURNING items.
    pub returning: Vec<ast::SelectItem>,
}

/// COPY target (columns) FROM STDIN.
#[derive(Debug, Clone)]
pub struct CopyIn {
    /// Table or push stream.
    pub target: Name,
    /// Columns given; all when empty.
    pub columns: Vec<String>,
    /// How rows are written.
    pub format: CopyFormat,
}

/// What COPY … TO STDOUT copies.
#[derive(Debug, Clone)]
pub enum CopySource {
    /// A relation or query.
    Query(Box<ast::Query>),
    /// Changes as they happen.
    Subscribe(Subscribe),
}

/// How COPY writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    /// Text, CSV or binary.
    pub kind: CopyKind,
    /// Between columns: a tab for text, a comma for CSV.
    pub delimiter: char,
    /// A first line with the column names.
    pub header: bool,
    /// How null is written: `\N` for text, empty and unquoted for CSV.
    pub null: String,
    /// CSV quote.
    pub quote: char,
    /// CSV escape.
    pub escape: char,
}

/// Formats of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// Postgres's text format.
    Text,
    /// CSV.
    Csv,
    /// Postgres's binary format.
    Binary,
}

/// SUBSCRIBE [TO] relation | (query) [WITH (SNAPSHOT [= bool], PROGRESS [= bool])].
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// `SELECT * FROM relation`, or the query.
    pub query: Box<ast::Query>,
    /// Start with the rows there are (the default).
    pub snapshot: bool,
    /// Also tell when an epoch has closed without a change.
    pub progress: bool,
}
