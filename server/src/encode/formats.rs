//! Which columns of a result are sent as text and which in binary.

use engine::error::sqlstate;
use engine::{Error, Result};

/// How each column of a result is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats {
    /// None: all as text. One: all alike. Else one per column. As in Bind; true is binary.
    are_binary: Vec<bool>,
}

impl Formats {
    /// Every column in binary.
    pub fn binary() -> Self {
        Self { are_binary: vec![true] }
    }

    /// The format codes of Bind.
    pub fn of_codes(codes: &[i16]) -> Result<Self> {
        match codes.iter().find(|code| !matches!(code, 0 | 1)) {
            Some(code) => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))),
            None => Ok(Self { are_binary: codes.iter().map(|code| *code == 1).collect() }),
        }
    }

    /// Fails when there is a code for each column of another number of columns.
    pub fn check(&self, n_columns: usize) -> Result<()> {
        match self.are_binary.len() {
            0 | 1 => Ok(()),
            n_formats if n_formats == n_columns => Ok(()),
            n_formats => {
                let message = format!("bind message has {n_formats} result formats but query has {n_columns} columns");
                Err(Error::new(sqlstate::PROTOCOL_VIOLATION, message))
            }
        }
    }

    /// Whether a column is sent in binary.
    pub fn is_binary(&self, column: usize) -> bool {
        match self.are_binary.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(false),
        }
    }
}
