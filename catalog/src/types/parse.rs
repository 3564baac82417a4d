//! Reads a SQL type in any usual spelling: canonical text, aliases (`int8`, `timestamptz`, `varchar(5)`), other dialects'
//! (`string`, `array<int>`, `timestamp(3)`).
//!
//! Guaranteed: what [`SqlType`] prints is read back as itself; anything else gives an error, however deep it is nested.

use std::str::FromStr;

use super::{SqlType, SystemType, TypeError};

impl FromStr for SqlType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let unknown = || TypeError::Unknown(text.trim().to_owned());
        let tokens = tokens(text).ok_or_else(unknown)?;
        let mut parser = Parser { tokens: &tokens, n_deep: 0 };
        let parsed = parser.sql_type().map_err(|error| error.unwrap_or_else(unknown))?;
        if parser.tokens.is_empty() { Ok(parsed) } else { Err(unknown()) }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Folded to lower case.
    Word(String),
    Quoted(String),
    Number(i64),
    Sign(char),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        match first {
            c if c.is_whitespace() => {}
            '"' => tokens.push(Token::Quoted(quoted(&mut chars)?)),
            '(' | ')' | '<' | '>' | '[' | ']' | ',' | '.' => tokens.push(Token::Sign(first)),
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                let rest = take_while(&mut chars, |c| c.is_ascii_digit());
                tokens.push(Token::Number(format!("{c}{rest}").parse().ok()?));
            }
            c if c.is_alphabetic() || c == '_' => {
                let rest = take_while(&mut chars, |c| c.is_alphanumeric() || c == '_' || c == '$');
                tokens.push(Token::Word(format!("{c}{rest}").to_lowercase()));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn take_while(chars: &mut Chars<'_>, wanted: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(c) = chars.next_if(|c| wanted(*c)) {
        taken.push(c);
    }
    taken
}

/// The rest of a quoted name; a doubled quote is one.
fn quoted(chars: &mut Chars<'_>) -> Option<String> {
    let mut name = String::new();
    loop {
        match chars.next()? {
            '"' if chars.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => return Some(name),
            c => name.push(c),
        }
    }
}

/// `None` means "not a type", so that the error names the whole text.
type Parsed<T> = Result<T, Option<TypeError>>;

/// Types nested deeper than any table needs are refused before they exhaust the thread's stack.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    tokens: &'a [Token],
    n_deep: usize,
}

impl Parser<'_> {
    fn sql_type(&mut self) -> Parsed<SqlType> {
        self.n_deep += 1;
        if self.n_deep > MAX_DEPTH {
            return Err(Some(TypeError::Modifier(format!("types can be nested {MAX_DEPTH} deep at most"))));
        }
        let mut parsed = self.element()?;
        let mut n_dimensions = 0;
        while self.array_suffix()? {
            n_dimensions += 1;
            if n_dimensions > MAX_DEPTH {
                return Err(Some(TypeError::Modifier(format!("an array can have {MAX_DEPTH} dimensions at most"))));
            }
            parsed = SqlType::Array(Box::new(parsed));
        }
        self.n_deep -= 1;
        Ok(parsed)
    }

    /// `[]`, `[3]` (the bound is not kept, as in Postgres) or `ARRAY`.
    fn array_suffix(&mut self) -> Parsed<bool> {
        if self.word("array") {
            if self.sign('[') {
                self.number()?;
                self.expect(']')?;
            }
            return Ok(true);
        }
        if !self.sign('[') {
            return Ok(false);
        }
        if !self.sign(']') {
            self.number()?;
            self.expect(']')?;
        }
        Ok(true)
    }

    fn element(&mut self) -> Parsed<SqlType> {
        // `pg_catalog.int4`, as drivers write it.
        if let [Token::Word(schema) | Token::Quoted(schema), Token::Sign('.'), ..] = self.tokens
            && schema == "pg_catalog"
        {
            self.tokens = &self.tokens[2..];
        }
        if let [Token::Quoted(name), rest @ ..] = self.tokens
            && name == "char"
        {
            self.tokens = rest;
            return Ok(SqlType::System(SystemType::InternalChar));
        }
        let Some((Token::Word(name) | Token::Quoted(name), rest)) = self.tokens.split_first() else { return Err(None) };
        self.tokens = rest;
        Ok(match name.as_str() {
            "bool" | "boolean" => SqlType::Boolean,
            "smallint" | "int2" | "tinyint" => SqlType::SmallInt,
            "int" | "integer" | "int4" => SqlType::Integer,
            "bigint" | "int8" => SqlType::BigInt,
            "real" | "float4" => SqlType::Real,
            "float8" => SqlType::Double,
            "double" => {
                self.word("precision");
                SqlType::Double
            }
            "float" => self.float()?,
            "numeric" | "decimal" | "dec" => SqlType::Numeric(self.numeric_modifier()?),
            "text" | "string" => SqlType::Text,
            "varchar" => SqlType::Varchar(self.length()?),
            "bpchar" => self.length()?.map_or(SqlType::Varchar(None), SqlType::Char),
            "char" | "character" if self.word("varying") => SqlType::Varchar(self.length()?),
            "char" | "character" => SqlType::Char(self.length()?.unwrap_or(1)),
            "bytea" | "bytes" | "blob" | "varbinary" => SqlType::Bytea,
            "date" => SqlType::Date,
            "time" => self.time()?,
            "timestamp" => self.timestamp()?,
            "timestamptz" => {
                self.precision()?;
                SqlType::TimestampTz
            }
            "interval" => {
                self.precision()?;
                SqlType::Interval
            }
            "uuid" => SqlType::Uuid,
            "json" => SqlType::Json,
            "jsonb" => SqlType::Jsonb,
            "array" => self.array()?,
            "struct" | "row" => SqlType::Struct(self.fields()?),
            other => match (SystemType::named(other), other.strip_prefix('_')) {
                (Some(system), _) => SqlType::System(system),
                // An array by its `typname`.
                (None, Some(item)) if item != "char" => SqlType::Array(Box::new(item.parse().map_err(|_| None)?)),
                _ => return Err(None),
            },
        })
    }

    /// `ARRAY<item>`.
    fn array(&mut self) -> Parsed<SqlType> {
        self.expect('<')?;
        let item = self.sql_type()?;
        self.expect('>')?;
        Ok(SqlType::Array(Box::new(item)))
    }

    /// `STRUCT<a integer, b text>`, also with parentheses.
    fn fields(&mut self) -> Parsed<Vec<(String, SqlType)>> {
        let close = if self.sign('<') { '>' } else { self.expect('(').map(|()| ')')? };
        let mut fields: Vec<(String, SqlType)> = Vec::new();
        if self.sign(close) {
            return Ok(fields);
        }
        loop {
            let Some((Token::Word(name) | Token::Quoted(name), rest)) = self.tokens.split_first() else { return Err(None) };
            self.tokens = rest;
            if fields.iter().any(|(other, _)| other == name) {
                return Err(Some(TypeError::Modifier(format!("field \"{name}\" of a struct is there twice"))));
            }
            fields.push((name.clone(), self.sql_type()?));
            if self.sign(close) {
                return Ok(fields);
            }
            self.expect(',')?;
        }
    }

    /// `FLOAT(1..24)` is real, `FLOAT(25..53)` and plain `FLOAT` double precision.
    fn float(&mut self) -> Parsed<SqlType> {
        Ok(match self.modifiers()?.as_slice() {
            [] => SqlType::Double,
            [1..=24] => SqlType::Real,
            [25..=53] => SqlType::Double,
            _ => return Err(Some(TypeError::Modifier("precision for type float must be between 1 and 53".into()))),
        })
    }

    fn numeric_modifier(&mut self) -> Parsed<Option<(u8, i8)>> {
        let (precision, scale) = match self.modifiers()?.as_slice() {
            [] => return Ok(None),
            [precision] => (*precision, 0),
            [precision, scale] => (*precision, *scale),
            _ => return Err(None),
        };
        if !(1..=38).contains(&precision) {
            return Err(Some(TypeError::Modifier(format!("NUMERIC precision {precision} must be between 1 and 38"))));
        }
        if !(-38..=precision).contains(&scale) {
            return Err(Some(TypeError::Modifier(format!("NUMERIC scale {scale} must be between -38 and precision {precision}"))));
        }
        Ok(Some((precision as u8, scale as i8)))
    }

    /// `(n)` of a character type.
    fn length(&mut self) -> Parsed<Option<u32>> {
        match self.modifiers()?.as_slice() {
            [] => Ok(None),
            [length @ 1..=10_485_760] => Ok(Some(*length as u32)),
            _ => Err(Some(TypeError::Modifier("length of a character type must be between 1 and 10485760".into()))),
        }
    }

    /// `(p)` of a time type: accepted, since microseconds hold every value of a lower precision; not kept.
    fn precision(&mut self) -> Parsed<()> {
        match self.modifiers()?.as_slice() {
            [] | [0..=9] => Ok(()),
            _ => Err(Some(TypeError::Modifier("precision of a time type must be between 0 and 9".into()))),
        }
    }

    fn time(&mut self) -> Parsed<SqlType> {
        self.precision()?;
        if self.zone("with") {
            return Err(Some(TypeError::Unknown("time with time zone".into())));
        }
        self.zone("without");
        Ok(SqlType::Time)
    }

    fn timestamp(&mut self) -> Parsed<SqlType> {
        self.precision()?;
        if self.zone("with") {
            return Ok(SqlType::TimestampTz);
        }
        self.zone("without");
        Ok(SqlType::Timestamp)
    }

    /// `WITH TIME ZONE`, `WITHOUT TIME ZONE`.
    fn zone(&mut self, with_or_without: &str) -> bool {
        let is = |token: &Token, word: &str| matches!(token, Token::Word(text) if text == word);
        match self.tokens {
            [with, time, zone, rest @ ..] if is(with, with_or_without) && is(time, "time") && is(zone, "zone") => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    /// `(a, b)`; empty without parentheses.
    fn modifiers(&mut self) -> Parsed<Vec<i64>> {
        let mut numbers = Vec::new();
        if !self.sign('(') {
            return Ok(numbers);
        }
        loop {
            numbers.push(self.number()?);
            if self.sign(')') {
                return Ok(numbers);
            }
            self.expect(',')?;
        }
    }

    fn number(&mut self) -> Parsed<i64> {
        let Some((Token::Number(number), rest)) = self.tokens.split_first() else { return Err(None) };
        self.tokens = rest;
        Ok(*number)
    }

    fn word(&mut self, word: &str) -> bool {
        self.next_is(&Token::Word(word.to_owned()))
    }

    fn sign(&mut self, sign: char) -> bool {
        self.next_is(&Token::Sign(sign))
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        if self.sign(sign) { Ok(()) } else { Err(None) }
    }

    fn next_is(&mut self, wanted: &Token) -> bool {
        match self.tokens.split_first() {
            Some((token, rest)) if token == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}
