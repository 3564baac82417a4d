//! What a part of FROM has: the columns that `*` stands for, in their order, as far as they are known. A part of [`super::shared_columns`].

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, ObjectName, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use super::names::{fold, quoted};
use crate::Error;
use crate::error::sqlstate;

/// One part of what `*` stands for.
#[derive(Clone)]
pub(super) enum Item {
    Column {
        name: String,
        expr: Box<Expr>,
        /// It is the shared column of a join.
        is_shared: bool,
    },
    /// A relation of which at most some columns are known, but for those that were taken.
    Relation { name: Ident, known: Option<Vec<String>>, taken: Vec<String> },
}

/// What a part of FROM has.
#[derive(Clone, Default)]
pub(super) struct Has(pub(super) Vec<Item>);

impl Has {
    pub(super) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// The shared columns whose names no other column has.
    pub(super) fn shared(&self) -> Vec<(String, Expr)> {
        let shared = self.0.iter().filter_map(|item| match item {
            Item::Column { name, expr, is_shared: true } => Some((name.clone(), expr.as_ref().clone())),
            _ => None,
        });
        shared.filter(|(name, _)| self.n_named(name) == 1).collect()
    }

    pub(super) fn n_named(&self, wanted: &str) -> usize {
        self.0.iter().filter(|item| matches!(item, Item::Column { name, .. } if name == wanted)).count()
    }

    /// Whether a column of this name is, or may be, among them.
    pub(super) fn may_have(&self, wanted: &str) -> bool {
        self.0.iter().any(|item| match item {
            Item::Column { name, .. } => name == wanted,
            Item::Relation { known: Some(known), .. } => known.iter().any(|name| name == wanted),
            Item::Relation { known: None, .. } => true,
        })
    }

    pub(super) fn has_relation(&self, wanted: &Ident) -> bool {
        self.0.iter().any(|item| match item {
            Item::Column { expr, .. } => is_of(expr, wanted),
            Item::Relation { name, .. } => fold(name) == fold(wanted),
        })
    }

    /// The column that a join on this name takes; it is the join's from then on.
    pub(super) fn take(&mut self, wanted: &str, side: &str) -> Result<Expr, Error> {
        let mut found = None;
        for place in 0..self.0.len() {
            if let Item::Column { name, expr, .. } = &self.0[place]
                && name == wanted
                && found.replace((place, expr.as_ref().clone())).is_some()
            {
                let message = format!("common column name \"{wanted}\" appears more than once in {side} table");
                return Err(Error::new(sqlstate::AMBIGUOUS_COLUMN, message));
            }
        }
        if let Some((place, expr)) = found {
            self.0.remove(place);
            return Ok(expr);
        }
        let may_have = |item: &&mut Item| match item {
            Item::Relation { known: Some(known), .. } => known.iter().any(|name| name == wanted),
            Item::Relation { known: None, .. } => true,
            Item::Column { .. } => false,
        };
        let mut unknown = self.0.iter_mut().filter(may_have);
        match (unknown.next(), unknown.next()) {
            (Some(Item::Relation { name, taken, .. }), None) => {
                taken.push(wanted.to_owned());
                Ok(Expr::CompoundIdentifier(vec![name.clone(), quoted(wanted)]))
            }
            _ => {
                let message = format!("column \"{wanted}\" specified in USING clause does not exist in {side} table");
                Err(Error::new(sqlstate::UNDEFINED_COLUMN, message))
            }
        }
    }

    /// The columns' names, where they are known.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        self.0
            .iter()
            .map(|item| match item {
                Item::Column { name, .. } => Some(name.clone()),
                Item::Relation { .. } => None,
            })
            .collect()
    }

    /// What stands for `*`.
    pub(super) fn items(&self) -> Vec<SelectItem> {
        let item = |item: &Item| match item {
            Item::Column { expr, is_shared: false, .. } if matches!(**expr, Expr::CompoundIdentifier(_)) => {
                SelectItem::UnnamedExpr(expr.as_ref().clone())
            }
            Item::Column { name, expr, .. } => SelectItem::ExprWithAlias { expr: expr.as_ref().clone(), alias: quoted(name) },
            Item::Relation { name, taken, .. } => all_but(name, taken),
        };
        self.0.iter().map(item).collect()
    }
}

/// Whether it is a column of the relation.
pub(super) fn is_of(expr: &Expr, relation: &Ident) -> bool {
    matches!(expr, Expr::CompoundIdentifier(path) if path.first().is_some_and(|first| fold(first) == fold(relation)))
}

fn all_but(relation: &Ident, columns: &[String]) -> SelectItem {
    let excluded: Vec<ObjectName> = columns.iter().map(|name| ObjectName::from(vec![quoted(name)])).collect();
    let exclude = (!excluded.is_empty()).then_some(ExcludeSelectItem::Multiple(excluded));
    let options = WildcardAdditionalOptions { opt_exclude: exclude, ..WildcardAdditionalOptions::default() };
    let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![relation.clone()]));
    SelectItem::QualifiedWildcard(kind, options)
}

/// The columns that two sides of a NATURAL JOIN share.
pub(super) fn natural(left: &Has, right: &Has) -> Result<Vec<String>, Error> {
    let (Some(of_left), Some(of_right)) = (left.names(), right.names()) else {
        return Err(Error::unsupported(
            "NATURAL JOIN with something whose columns are not known before it runs is not supported",
            "name the shared columns in USING",
        ));
    };
    let mut shared: Vec<String> = of_left;
    shared.retain(|name| of_right.contains(name));
    let mut seen = BTreeSet::new();
    shared.retain(|name| seen.insert(name.clone()));
    Ok(shared)
}
