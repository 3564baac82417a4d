//! What concerns the session and what runs in it: SET, SHOW, transactions, EXPLAIN, SUBSCRIBE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use super::options::parse_value;
use super::tokens::Emit;
use super::{create, not_supported, parse_query, query};
use crate::Error;
use crate::error::sqlstate;
use crate::plan::names;
use crate::plan::statement::{Explain, Modes, ShowObjects, Statement, Subscribe};

/// EXPLAIN [ANALYZE] [VERBOSE] | EXPLAIN (options) … of a query, of CREATE MATERIALIZED VIEW or of an existing one.
pub(super) fn explain(cursor: &mut Cursor, emit: Emit) -> Parse<Statement> {
    cursor.expect(&["EXPLAIN"])?;
    let analyze = parse_explain_options(cursor)?;
    if cursor.eat(&["MATERIALIZED", "VIEW"]) || cursor.eat(&["VIEW"]) {
        return Ok(Statement::ExplainView { name: cursor.name()?, analyze });
    }
    let at = cursor.here();
    let statement = match cursor.word(0).as_str() {
        "CREATE" => {
            cursor.next();
            match create::create(cursor, emit)? {
                view @ Statement::CreateView(_) => view,
                _ => return cursor.refuse(not_supported("EXPLAIN of this CREATE"), at),
            }
        }
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "" => query(cursor)?,
        other => {
            let error = Error::unsupported(format!("EXPLAIN {other} is not supported"), "explain a query or CREATE MATERIALIZED VIEW");
            return cursor.refuse(error, at);
        }
    };
    Ok(Statement::Explain(Explain { analyze, statement: Box::new(statement) }))
}

fn parse_explain_options(cursor: &mut Cursor) -> Parse<bool> {
    let options = ["ANALYZE", "ANALYSE", "VERBOSE", "COSTS", "BUFFERS", "TIMING", "SUMMARY", "SETTINGS", "WAL", "FORMAT", "GENERIC_PLAN"];
    let listed = cursor.at_token(&Token::LParen)
        && matches!(&cursor.parser.peek_nth_token_ref(1).token, Token::Word(word) if options.contains(&word.value.to_ascii_uppercase().as_str()));
    if !listed {
        let analyze = cursor.eat(&["ANALYZE"]) || cursor.eat(&["ANALYSE"]);
        cursor.eat(&["VERBOSE"]);
        return Ok(analyze);
    }
    let mut analyze = false;
    cursor.parenthesised(|cursor| {
        let at = cursor.here();
        let option = cursor.word(0);
        cursor.next();
        let value = match cursor.parser.peek_token_ref().token {
            Token::Comma | Token::RParen => "on".to_owned(),
            _ => parse_value(cursor)?.to_ascii_lowercase(),
        };
        if option.starts_with("ANALY") {
            analyze = !matches!(value.as_str(), "false" | "off" | "0");
        }
        if option == "FORMAT" && value != "text" {
            return cursor.refuse(Error::unsupported(format!("EXPLAIN in format {value} is not supported"), "use FORMAT TEXT"), at);
        }
        Ok(())
    })?;
    Ok(analyze)
}

/// SUBSCRIBE …, the word already passed.
pub(super) fn subscribe(cursor: &mut Cursor) -> Parse<Subscribe> {
    cursor.eat(&["TO"]);
    let query = match cursor.eat_token(&Token::LParen) {
        true => {
            let query = cursor.query()?;
            cursor.expect_token(&Token::RParen)?;
            query
        }
        false if cursor.at(&["SELECT"]) || cursor.at(&["WITH"]) || cursor.at(&["VALUES"]) => {
            return cursor.expected("a relation, or a query in parentheses");
        }
        false => {
            let start = cursor.here();
            cursor.name()?;
            parse_query(&format!("SELECT * FROM {}", cursor.text_since(start)))?
        }
    };
    let mut subscribe = Subscribe { query, snapshot: true, progress: false };
    if cursor.eat(&["WITH"]) {
        cursor.parenthesised(|cursor| parse_subscribe_option(cursor, &mut subscribe))?;
    }
    Ok(subscribe)
}

fn parse_subscribe_option(cursor: &mut Cursor, subscribe: &mut Subscribe) -> Parse<()> {
    let at = cursor.here();
    let option = cursor.word(0);
    cursor.next();
    cursor.eat_token(&Token::Eq);
    let value = match cursor.parser.peek_token_ref().token {
        Token::Comma | Token::RParen => "true".to_owned(),
        _ => parse_value(cursor)?.to_ascii_lowercase(),
    };
    let on = match value.as_str() {
        "true" | "on" | "1" => true,
        "false" | "off" | "0" => false,
        other => {
            let error = Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("\"{other}\" is not a Boolean value"));
            return cursor.refuse(error, at);
        }
    };
    match option.as_str() {
        "SNAPSHOT" => subscribe.snapshot = on,
        "PROGRESS" => subscribe.progress = on,
        _ => {
            let error = Error::new(sqlstate::SYNTAX_ERROR, format!("unrecognized SUBSCRIBE option \"{}\"", option.to_ascii_lowercase()));
            return cursor.refuse(error.with_hint("SNAPSHOT and PROGRESS are there"), at);
        }
    }
    Ok(())
}

/// SET …, the word already passed.
pub(super) fn set(cursor: &mut Cursor) -> Parse<Statement> {
    if cursor.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return Ok(Statement::SetTransaction { modes: parse_modes(cursor)?, session: true });
    }
    let local = cursor.eat(&["LOCAL"]);
    if !local {
        cursor.eat(&["SESSION"]);
    }
    if cursor.eat(&["TRANSACTION"]) {
        return Ok(Statement::SetTransaction { modes: parse_modes(cursor)?, session: false });
    }
    if cursor.at(&["SESSION", "AUTHORIZATION"]) || cursor.at(&["AUTHORIZATION"]) || cursor.at(&["ROLE"]) {
        return cursor.refuse_here(Error::unsupported("changing the role of a session is not supported", "connect as the other role"));
    }
    if cursor.at(&["CONSTRAINTS"]) {
        return cursor.refuse_here(not_supported("SET CONSTRAINTS"));
    }
    if cursor.eat(&["TIME", "ZONE"]) {
        let value = match cursor.eat(&["LOCAL"]) || cursor.eat(&["DEFAULT"]) {
            true => None,
            false if cursor.eat(&["INTERVAL"]) => {
                let offset = parse_value(cursor)?;
                // Sequelize begins its sessions with `INTERVAL '+00:00' HOUR TO MINUTE`.
                let _ = cursor.eat(&["HOUR", "TO", "MINUTE"]) || cursor.eat(&["HOUR"]);
                Some(zone_of_offset(offset))
            }
            false => Some(parse_value(cursor)?),
        };
        return Ok(Statement::Set { name: "timezone".into(), value, local });
    }
    if cursor.eat(&["NAMES"]) {
        let value = if cursor.eat(&["DEFAULT"]) { None } else { Some(parse_value(cursor)?) };
        return Ok(Statement::Set { name: "client_encoding".into(), value, local });
    }
    let name = parse_setting(cursor)?;
    if !cursor.eat(&["TO"]) {
        cursor.expect_token(&Token::Eq)?;
    }
    Ok(Statement::Set { name, value: parse_setting_value(cursor)?, local })
}

/// The zone that is so many whole hours east, by its IANA name, which counts them to the west; anything else as it is, for the
/// setting to refuse.
fn zone_of_offset(offset: String) -> String {
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => ('+', digits),
        None => ('-', offset.strip_prefix('+').unwrap_or(&offset)),
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    match (hours.parse::<u8>(), minutes.parse::<u8>()) {
        (Ok(0), Ok(0)) => "UTC".to_owned(),
        (Ok(hours), Ok(0)) => format!("Etc/GMT{sign}{hours}"),
        _ => offset,
    }
}

/// A setting's name, which may have a dot, in lower case.
fn parse_setting(cursor: &mut Cursor) -> Parse<String> {
    let mut name = cursor.identifier()?;
    while cursor.eat_token(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.identifier()?);
    }
    Ok(name.to_ascii_lowercase())
}

/// DEFAULT, or one or more values; unquoted words in lower case.
fn parse_setting_value(cursor: &mut Cursor) -> Parse<Option<String>> {
    if cursor.eat(&["DEFAULT"]) {
        return Ok(None);
    }
    let values = cursor.separated(|cursor| match &cursor.parser.peek_token_ref().token {
        Token::Word(word) => {
            let value = names::fold(&word.to_ident(cursor.parser.peek_token_ref().span));
            cursor.next();
            Ok(value)
        }
        _ => parse_value(cursor),
    })?;
    Ok(Some(values.join(", ")))
}

/// RESET …, the word already passed.
pub(super) fn reset(cursor: &mut Cursor) -> Parse<Statement> {
    let name = match cursor.eat(&["TIME", "ZONE"]) {
        true => "timezone".to_owned(),
        false => parse_setting(cursor)?,
    };
    Ok(Statement::Set { name, value: None, local: false })
}

/// SHOW …, the word already passed.
pub(super) fn show(cursor: &mut Cursor) -> Parse<Statement> {
    if cursor.eat(&["CREATE"]) {
        let kind_and_name = matches!(cursor.parser.peek_nth_token_ref(1).token, Token::Word(_));
        if !cursor.eat(&["MATERIALIZED", "VIEW"]) && kind_and_name {
            cursor.eat_one(&["STREAM", "SOURCE", "TABLE", "VIEW", "SINK", "INDEX", "FUNCTION"]);
        }
        return Ok(Statement::ShowCreate { name: cursor.name()? });
    }
    let objects: [(&[&str], ShowObjects); 8] = [
        (&["STREAMS"], ShowObjects::Streams),
        (&["SOURCES"], ShowObjects::Streams),
        (&["TABLES"], ShowObjects::Tables),
        (&["MATERIALIZED", "VIEWS"], ShowObjects::MaterializedViews),
        (&["VIEWS"], ShowObjects::Views),
        (&["SINKS"], ShowObjects::Sinks),
        (&["INDEXES"], ShowObjects::Indexes),
        (&["JOBS"], ShowObjects::Jobs),
    ];
    if let Some((_, what)) = objects.into_iter().find(|(words, _)| cursor.eat(words)) {
        return Ok(Statement::ShowObjects { what });
    }
    let name = match () {
        _ if cursor.eat(&["TRANSACTION", "ISOLATION", "LEVEL"]) => "transaction_isolation".to_owned(),
        _ if cursor.eat(&["TIME", "ZONE"]) => "timezone".to_owned(),
        _ if cursor.eat(&["SESSION", "AUTHORIZATION"]) => "session_authorization".to_owned(),
        _ => parse_setting(cursor)?,
    };
    Ok(Statement::ShowSetting { name })
}

/// BEGIN, START, COMMIT, END, ROLLBACK, ABORT; the word already passed.
pub(super) fn transaction(cursor: &mut Cursor, word: &str) -> Parse<Statement> {
    match word {
        "START" => cursor.expect(&["TRANSACTION"])?,
        _ => {
            cursor.eat_one(&["WORK", "TRANSACTION"]);
        }
    }
    match word {
        "BEGIN" | "START" => Ok(Statement::Begin { modes: parse_modes(cursor)? }),
        "ROLLBACK" if cursor.eat(&["TO"]) => {
            cursor.eat(&["SAVEPOINT"]);
            Ok(Statement::RollbackTo { name: cursor.identifier()? })
        }
        _ => {
            if cursor.at(&["PREPARED"]) {
                let statement = format!("{word} {}", cursor.word(0));
                return cursor.refuse_here(Error::unsupported(format!("{statement} is not supported"), "roll the whole transaction back"));
            }
            if cursor.eat(&["AND", "CHAIN"]) {
                return cursor.refuse_here(Error::unsupported("AND CHAIN is not supported", "send BEGIN after it"));
            }
            cursor.eat(&["AND", "NO", "CHAIN"]);
            Ok(if matches!(word, "COMMIT" | "END") { Statement::Commit } else { Statement::Rollback })
        }
    }
}

/// Transaction modes. Every level up to REPEATABLE READ is given as snapshot isolation, which is more than each asks for.
/// SERIALIZABLE would be less, and is refused but for READ ONLY: as no other transaction is serializable, a snapshot is.
fn parse_modes(cursor: &mut Cursor) -> Parse<Modes> {
    let mut modes = Modes::default();
    let mut serializable_at = None;
    loop {
        let at = cursor.here();
        if cursor.eat(&["ISOLATION", "LEVEL"]) {
            serializable_at = cursor.at(&["SERIALIZABLE"]).then_some(at);
            let levels: [(&[&str], &'static str); 4] = [
                (&["SERIALIZABLE"], "serializable"),
                (&["REPEATABLE", "READ"], "repeatable read"),
                (&["READ", "COMMITTED"], "read committed"),
                (&["READ", "UNCOMMITTED"], "read uncommitted"),
            ];
            match levels.into_iter().find(|(words, _)| cursor.eat(words)) {
                Some((_, level)) => modes.isolation = Some(level),
                None => return cursor.expected("an isolation level"),
            }
        } else if cursor.eat(&["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if cursor.eat(&["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else if !(cursor.eat(&["NOT", "DEFERRABLE"]) || cursor.eat(&["DEFERRABLE"])) {
            return match serializable_at {
                Some(at) if modes.read_only != Some(true) => {
                    let hint = "add READ ONLY, or use ISOLATION LEVEL REPEATABLE READ: a snapshot, and 40001 when a row written was changed by another";
                    cursor.refuse(Error::unsupported("isolation level SERIALIZABLE is not supported yet", hint), at)
                }
                _ => Ok(modes),
            };
        }
        cursor.eat_token(&Token::Comma);
    }
}
