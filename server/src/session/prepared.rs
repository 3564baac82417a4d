//! Prepared statements: those of Parse and those of PREPARE, under the same names, as in Postgres.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use catalog::SqlType;
use engine::error::sqlstate;
use engine::plan::parameters::Bound;
use engine::plan::statement::{Execute, Parsed, Prepare, Statement};
use engine::{Error, Result};

use super::{Outcome, Session};

/// Statements of one session at most: a client that forgets to close them is told before memory is.
const MAX_PREPARED: usize = 10_000;
/// `unknown`: the client leaves the type to us.
const OID_OF_UNKNOWN: u32 = 705;

/// A statement that was parsed and planned once, to be run with values.
#[derive(Clone)]
pub struct Prepared {
    /// `None` is an empty statement.
    pub parsed: Option<Parsed>,
    /// The types of its parameters.
    pub parameters: Vec<Parameter>,
    /// The columns of its rows.
    pub schema: Option<SchemaRef>,
}

/// A parameter of a prepared statement.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What the client is told: the type it named itself, if it did.
    pub oid: u32,
    /// How its values are read.
    pub sql_type: SqlType,
}

/// Prepared statements by name.
pub(super) type Statements = HashMap<String, Prepared>;

impl Session {
    /// Parses and plans a statement under a name; the empty name may be taken again.
    pub async fn prepare(&mut self, name: &str, sql: &str, oids: &[u32]) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(already_there(name));
        }
        if name.is_empty() {
            self.statements.remove(name);
        }
        let mut statements = self.parse(sql).await?;
        if statements.len() > 1 {
            return Err(Error::new(sqlstate::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement"));
        }
        let prepared = self.plan_once(statements.pop(), oids).await?;
        self.keep_prepared(name, prepared)
    }

    /// A prepared statement; `26000` when there is none of this name.
    pub fn prepared(&self, name: &str) -> Result<&Prepared> {
        self.statements.get(name).ok_or_else(|| match name {
            "" => Error::new(sqlstate::UNDEFINED_PSTATEMENT, "unnamed prepared statement does not exist"),
            name => Error::new(sqlstate::UNDEFINED_PSTATEMENT, format!("prepared statement \"{name}\" does not exist")),
        })
    }

    /// Forgets a statement, if it is there.
    pub fn close_prepared(&mut self, name: &str) {
        self.statements.remove(name);
    }

    /// A statement with values for its parameters; `None` is an empty statement.
    pub(super) fn bound(&self, prepared: &Prepared, values: &[Bound]) -> Result<Option<Parsed>> {
        prepared.parsed.as_ref().map(|parsed| self.engine.bind(parsed, values)).transpose()
    }

    async fn plan_once(&mut self, parsed: Option<Parsed>, oids: &[u32]) -> Result<Prepared> {
        let Some(parsed) = parsed else {
            return Ok(Prepared { parsed: None, parameters: Vec::new(), schema: None });
        };
        self.check_block(&parsed.statement)?;
        let given: Vec<Option<SqlType>> = oids.iter().map(|oid| given_type(*oid)).collect::<Result<_>>()?;
        let (types, schema) = self.describe_statement(&parsed, &given).await.map_err(|error| super::moved(error, parsed.offset))?;
        let named = |index: usize| oids.get(index).copied().filter(|oid| !matches!(*oid, 0 | OID_OF_UNKNOWN));
        let parameter = |(index, sql_type): (usize, SqlType)| Parameter { oid: named(index).unwrap_or(sql_type.oid()), sql_type };
        Ok(Prepared { parsed: Some(parsed), parameters: types.into_iter().enumerate().map(parameter).collect(), schema })
    }

    fn keep_prepared(&mut self, name: &str, prepared: Prepared) -> Result<()> {
        if self.statements.len() >= MAX_PREPARED {
            return Err(Error::new(sqlstate::LIMIT_EXCEEDED, format!("a session has at most {MAX_PREPARED} prepared statements"))
                .with_hint("close or DEALLOCATE those that are not needed any more"));
        }
        self.statements.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// What a statement takes and gives, without running it. What only the session knows it answers itself.
    async fn describe_statement(&mut self, parsed: &Parsed, given: &[Option<SqlType>]) -> Result<(Vec<SqlType>, Option<SchemaRef>)> {
        match &parsed.statement {
            Statement::ShowSetting { name } => Ok((Vec::new(), Some(self.settings().show(name)?.schema()))),
            Statement::Fetch(fetch) if fetch.moves => Ok((Vec::new(), None)),
            Statement::Fetch(fetch) => Ok((Vec::new(), self.portal(&fetch.cursor)?.schema.clone())),
            Statement::Execute(execute) => Ok((Vec::new(), self.prepared(&execute.name)?.schema.clone())),
            Statement::DeclareCursor(declare) => {
                let (engine, inner, given) = (self.engine.clone(), declare.statement.clone(), given.to_vec());
                let described = self.on_queries(async move { engine.prepare(&inner, &given).await }).await?;
                Ok((described.parameters, None))
            }
            _ => {
                let (engine, parsed, given) = (self.engine.clone(), parsed.clone(), given.to_vec());
                let described = self.on_queries(async move { engine.prepare(&parsed, &given).await }).await?;
                Ok((described.parameters, described.schema))
            }
        }
    }

    /// PREPARE.
    pub(super) async fn prepare_statement(&mut self, prepare: &Prepare) -> Result<Outcome> {
        if self.statements.contains_key(&prepare.name) {
            return Err(already_there(&prepare.name));
        }
        let (engine, statement, types) = (self.engine.clone(), prepare.statement.clone(), prepare.types.clone());
        let described = self.on_queries(async move { engine.prepare(&statement, &types).await }).await?;
        let parameter = |sql_type: SqlType| Parameter { oid: sql_type.oid(), sql_type };
        let parameters = described.parameters.into_iter().map(parameter).collect();
        let prepared = Prepared { parsed: Some(prepare.statement.clone()), parameters, schema: described.schema };
        self.keep_prepared(&prepare.name, prepared)?;
        Ok(Outcome::done("PREPARE"))
    }

    /// The statement that EXECUTE runs.
    pub(super) fn executed(&self, execute: &Execute) -> Result<Parsed> {
        let prepared = self.prepared(&execute.name)?;
        let (n_given, n_wanted) = (execute.arguments.len(), prepared.parameters.len());
        if n_given != n_wanted {
            let error =
                Error::new(sqlstate::SYNTAX_ERROR, format!("wrong number of parameters for prepared statement \"{}\"", execute.name));
            return Err(error.with_detail(format!("expected {n_wanted} parameters but got {n_given}")));
        }
        let types = prepared.parameters.iter().map(|parameter| parameter.sql_type.clone());
        let values: Vec<_> = types.zip(execute.arguments.iter().cloned()).collect();
        let parsed = prepared.parsed.as_ref().ok_or_else(|| Error::internal("an empty statement cannot be executed"))?;
        self.engine.bind_expressions(parsed, &values)
    }

    /// DEALLOCATE.
    pub(super) fn deallocate(&mut self, name: Option<&str>) -> Result<Outcome> {
        let Some(name) = name else {
            self.statements.clear();
            return Ok(Outcome::done("DEALLOCATE ALL"));
        };
        self.prepared(name)?;
        self.statements.remove(name);
        Ok(Outcome::done("DEALLOCATE"))
    }
}

fn already_there(name: &str) -> Error {
    Error::new(sqlstate::DUPLICATE_PSTATEMENT, format!("prepared statement \"{name}\" already exists"))
}

/// The type a client names by its oid; `None` leaves it to us.
fn given_type(oid: u32) -> Result<Option<SqlType>> {
    // An oid or an xid is a number that fits a bigint; "char" and unknown array items are texts.
    match oid {
        0 | OID_OF_UNKNOWN => Ok(None),
        24 | 26 | 28 | 2205 | 2206 | 4089 => Ok(Some(SqlType::BigInt)),
        18 | 1033 | 1560 | 1562 | 869 | 650 | 2275 => Ok(Some(SqlType::Text)),
        2277 | 2283 => Ok(None),
        oid => match SqlType::of_oid(oid) {
            Some(sql_type) => Ok(Some(sql_type)),
            None => Err(Error::unsupported(
                format!("parameters of the type with OID {oid} are not supported"),
                "send the value as text of a type that is there, and cast it in the statement",
            )),
        },
    }
}
