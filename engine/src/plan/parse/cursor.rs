//! A place in one statement's tokens: sqlparser's parser, with what our own grammar needs around it.
//!
//! Words are compared as text, not by sqlparser's keywords, of which ours (SINK, SUBSCRIBE, WATERMARK …) are not all one.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::text::Text;
use crate::plan::names;
use crate::plan::normalise::Refusal;
use crate::plan::statement::Name;
use crate::{Error, Result};

/// Why a statement was not understood.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not our grammar; the position is in sqlparser's message.
    Syntax(ParserError),
    /// Understood and refused.
    Refused {
        /// Why, still without a position.
        error: Error,
        /// Where.
        at: Option<Location>,
    },
}

impl From<ParserError> for Failure {
    fn from(error: ParserError) -> Self {
        Self::Syntax(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused { error, at: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        // An empty location would be the end of the statement.
        let at = (refusal.at.line > 0).then_some(refusal.at);
        Self::Refused { error: refusal.error, at }
    }
}

/// The result of reading a part of a statement.
pub(super) type Parse<T> = Result<T, Failure>;

/// A parser at some token of a statement.
pub(super) struct Cursor<'a> {
    /// sqlparser's, for what is standard.
    pub(super) parser: Parser<'a>,
    text: &'a Text<'a>,
    /// How deep [`Cursor::nested`] is.
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(parser: Parser<'a>, text: &'a Text<'a>) -> Self {
        Self { parser, text, depth: 0 }
    }

    /// The unquoted word `n` tokens ahead, in upper case; empty for anything else.
    pub(super) fn word(&self, n: usize) -> String {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// Whether these words come next.
    pub(super) fn at(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
            _ => false,
        })
    }

    /// Passes these words if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Passes the first of these words that comes next.
    pub(super) fn eat_one(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.eat(&[word]))
    }

    /// Passes these words, which must come next.
    pub(super) fn expect(&mut self, words: &[&str]) -> Parse<()> {
        for word in words {
            if !self.eat(&[word]) {
                return self.expected(word);
            }
        }
        Ok(())
    }

    /// Passes a token if it comes next.
    pub(super) fn eat_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Passes a token, which must come next.
    pub(super) fn expect_token(&mut self, token: &Token) -> Parse<()> {
        self.parser.expect_token(token)?;
        Ok(())
    }

    /// Whether this token comes next.
    pub(super) fn at_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    /// Nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.at_token(&Token::EOF)
    }

    /// The next token is not what it should be.
    pub(super) fn expected<T>(&self, what: &str) -> Parse<T> {
        Ok(self.parser.expected_ref(what, self.parser.peek_token_ref())?)
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Location {
        self.parser.peek_token_ref().span.start
    }

    /// Refuses what was understood, pointing at `at`.
    pub(super) fn refuse<T>(&self, error: Error, at: Location) -> Parse<T> {
        Err(Failure::Refused { error, at: Some(at) })
    }

    /// Refuses what comes next.
    pub(super) fn refuse_here<T>(&self, error: Error) -> Parse<T> {
        self.refuse(error, self.here())
    }

    /// How many characters of the whole text stand before `at`.
    pub(super) fn character(&self, at: Location) -> usize {
        self.text.character(at)
    }

    /// The text between `start` and the last token passed.
    pub(super) fn text_since(&self, start: Location) -> String {
        let end = self.parser.get_current_token().span.end;
        self.text.slice(Span::new(start, end)).to_owned()
    }

    /// Passes the next token, whatever it is.
    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// `IF NOT EXISTS`.
    pub(super) fn if_not_exists(&mut self) -> bool {
        self.eat(&["IF", "NOT", "EXISTS"])
    }

    /// `IF EXISTS`.
    pub(super) fn if_exists(&mut self) -> bool {
        self.eat(&["IF", "EXISTS"])
    }

    /// An identifier, folded.
    pub(super) fn identifier(&mut self) -> Parse<String> {
        Ok(names::fold(&self.parser.parse_identifier()?))
    }

    /// A relation's or function's name.
    pub(super) fn name(&mut self) -> Parse<Name> {
        let at = self.here();
        let object = self.parser.parse_object_name(false)?;
        names::name(&object).or_else(|error| self.refuse(error, at))
    }

    /// `(a, b, c)`, or nothing when no parenthesis comes next.
    pub(super) fn optional_columns(&mut self) -> Parse<Vec<String>> {
        match self.at_token(&Token::LParen) {
            true => self.parenthesised(|cursor| cursor.identifier()),
            false => Ok(vec![]),
        }
    }

    /// `(item, item …)`, one item at least.
    pub(super) fn parenthesised<T>(&mut self, item: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let items = self.separated(item)?;
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// `item, item …`, one item at least.
    pub(super) fn separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A query.
    pub(super) fn query(&mut self) -> Parse<Box<Query>> {
        Ok(self.parser.parse_query()?)
    }

    /// An expression.
    pub(super) fn expression(&mut self) -> Parse<Expr> {
        Ok(self.parser.parse_expr()?)
    }

    /// An expression and its text.
    pub(super) fn expression_with_text(&mut self) -> Parse<(Expr, String)> {
        let start = self.here();
        let expression = self.expression()?;
        Ok((expression, self.text_since(start)))
    }

    /// A query and its text.
    pub(super) fn query_with_text(&mut self) -> Parse<(Box<Query>, String)> {
        let start = self.here();
        let query = self.query()?;
        Ok((query, self.text_since(start)))
    }

    /// A string literal.
    pub(super) fn string(&mut self) -> Parse<String> {
        Ok(self.parser.parse_literal_string()?)
    }

    /// Reads what may contain itself, 100 times at most.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth == 100 {
            return self.refuse_here(super::limits::too_deep());
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    /// An identifier as the AST has it.
    pub(super) fn ident(&mut self) -> Parse<Ident> {
        Ok(self.parser.parse_identifier()?)
    }
}
