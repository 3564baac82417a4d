//! FULL JOIN … USING: the shared column is that of whichever side has the row. DataFusion takes the left side's, so on the AST
//!
//! ```sql
//! SELECT k, v, w FROM a FULL JOIN b USING (k)
//! SELECT coalesce(a.k, b.k) AS k, v, w FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! and `*` becomes `coalesce(a.k, b.k) AS k, a.* EXCEPT (k), b.* EXCEPT (k)`. All USING of a chain with a FULL JOIN are
//! written out. Refused, since the columns are not known here: NATURAL FULL JOIN, and a shared column of which it is not plain
//! which relation on the left has it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::normalise::{Refusal, call};
use crate::Error;

/// Rewrites a query's own SELECT with its ORDER BY.
pub(super) fn rewrite_query(query: &mut Query) -> Result<(), Refusal> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let shared = rewrite_select(select)?;
    if let Some(OrderByKind::Expressions(sorts)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        for sort in sorts {
            let is_output = matches!(&sort.expr, Expr::Identifier(name) if select.projection.iter().any(|item| is_named(item, name)));
            if !is_output {
                shared.put_into(&mut sort.expr);
            }
        }
    }
    Ok(())
}

fn is_named(item: &SelectItem, name: &Ident) -> bool {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => same(alias, name),
        SelectItem::UnnamedExpr(Expr::Identifier(own)) => same(own, name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().is_some_and(|own| same(own, name)),
        _ => false,
    }
}

/// Rewrites one SELECT; what its shared columns now are.
pub(super) fn rewrite_select(select: &mut Select) -> Result<Shared, Refusal> {
    let mut shared = Shared::default();
    if !select.from.iter().any(has_full_using) {
        return Ok(shared);
    }
    let mut everything = Vec::new();
    for from in &mut select.from {
        everything.extend(write_out(from, &mut shared)?);
    }
    let mut items = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(options) if options.opt_exclude.is_none() && options.opt_except.is_none() => {
                items.extend(everything.iter().cloned());
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => items.push(match shared.of(&name) {
                Some(expr) => SelectItem::ExprWithAlias { expr, alias: name },
                None => SelectItem::UnnamedExpr(Expr::Identifier(name)),
            }),
            mut item => {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = &mut item {
                    shared.put_into(expr);
                }
                items.push(item);
            }
        }
    }
    select.projection = items;
    for expr in select.selection.iter_mut().chain(&mut select.having) {
        shared.put_into(expr);
    }
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        groups.iter_mut().for_each(|group| shared.put_into(group));
    }
    Ok(shared)
}

fn has_full_using(from: &TableWithJoins) -> bool {
    from.joins.iter().any(|join| matches!(&join.join_operator, JoinOperator::FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural)))
}

/// The shared columns of a SELECT, by name.
#[derive(Default)]
pub(super) struct Shared {
    columns: Vec<(Ident, Expr)>,
}

impl Shared {
    fn of(&self, name: &Ident) -> Option<Expr> {
        self.columns.iter().find(|(shared, _)| same(shared, name)).map(|(_, expr)| expr.clone())
    }

    fn put_into(&self, expr: &mut Expr) {
        let _ = VisitMut::visit(expr, &mut Replace { shared: self, depth: 0 });
    }
}

/// Puts what a shared column is in place of its bare name; names in a subquery may be its own and are left.
struct Replace<'a> {
    shared: &'a Shared,
    depth: usize,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let (0, Expr::Identifier(name)) = (self.depth, &*expr) {
            if let Some(shared) = self.shared.of(name) {
                *expr = shared;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Writes the USING of one item of FROM out as ON; what `*` is of it.
fn write_out(from: &mut TableWithJoins, shared: &mut Shared) -> Result<Vec<SelectItem>, Refusal> {
    let is_rewritten = has_full_using(from);
    let mut relations = vec![(name_of(&from.relation)?, vec![])];
    let mut own: Vec<Ident> = Vec::new();
    for join in &mut from.joins {
        let right = name_of(&join.relation)?;
        let mut right_columns = vec![];
        if let (true, Some((kind, columns))) = (is_rewritten, using(join)?) {
            let mut conditions = Vec::with_capacity(columns.len());
            for name in &columns {
                let left = match (shared.of(name), relations.as_slice()) {
                    (Some(expr), _) => expr,
                    (None, [(only, _)]) => of_relation(only, name),
                    (None, _) => return Err(Refusal::of(join, not_plain(name))),
                };
                let right = of_relation(&right, name);
                conditions.push(Expr::BinaryOp { left: Box::new(left.clone()), op: BinaryOperator::Eq, right: Box::new(right.clone()) });
                let expr = match kind {
                    Side::Left => left,
                    Side::Right => right,
                    Side::Either => call("coalesce", [left, right]),
                };
                shared.columns.retain(|(known, _)| !same(known, name));
                shared.columns.push((name.clone(), expr));
                own.retain(|known| !same(known, name));
            }
            if let [(_, only)] = relations.as_mut_slice() {
                only.clone_from(&columns);
            }
            right_columns.clone_from(&columns);
            own.splice(0..0, columns);
            set_condition(join, conditions);
        }
        relations.push((right, right_columns));
    }
    let columns =
        own.iter().map(|name| SelectItem::ExprWithAlias { expr: shared.of(name).expect("it was put there"), alias: name.clone() });
    let rest = relations.iter().map(|(relation, columns)| all_but(relation, columns));
    Ok(columns.chain(rest).collect())
}

/// Which side's column a shared column is.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Either,
}

fn using(join: &Join) -> Result<Option<(Side, Vec<Ident>)>, Refusal> {
    let (side, constraint) = match &join.join_operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Side::Left, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Side::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Side::Right, constraint),
        JoinOperator::FullOuter(constraint) => (Side::Either, constraint),
        _ => return Ok(None),
    };
    match constraint {
        JoinConstraint::Using(names) => Ok(Some((side, names.iter().filter_map(last).collect()))),
        JoinConstraint::Natural => {
            let error = Error::unsupported("NATURAL JOIN beside or as a FULL JOIN is not supported", "name the shared columns in USING");
            Err(Refusal::of(join, error))
        }
        _ => Ok(None),
    }
}

fn set_condition(join: &mut Join, conditions: Vec<Expr>) {
    let both = |left: Expr, right: Expr| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
    let on = JoinConstraint::On(conditions.into_iter().reduce(both).expect("USING names a column"));
    match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => *constraint = on,
        _ => unreachable!("only these have USING"),
    }
}

/// The name by which columns of a relation in FROM are qualified.
fn name_of(factor: &TableFactor) -> Result<Ident, Refusal> {
    let alias = match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. } => alias.as_ref(),
        _ => None,
    };
    let name = match (alias, factor) {
        (Some(alias), _) => Some(alias.name.clone()),
        (None, TableFactor::Table { name, .. }) => last(name),
        _ => None,
    };
    name.ok_or_else(|| {
        let error = Error::unsupported("FULL JOIN USING beside something without a name is not supported", "give it an alias");
        Refusal::of(factor, error)
    })
}

fn last(name: &ObjectName) -> Option<Ident> {
    name.0.last().and_then(|part| part.as_ident()).cloned()
}

fn of_relation(relation: &Ident, column: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![relation.clone(), column.clone()])
}

fn all_but(relation: &Ident, columns: &[Ident]) -> SelectItem {
    let excluded: Vec<ObjectName> = columns.iter().map(|name| ObjectName::from(vec![name.clone()])).collect();
    let exclude = (!excluded.is_empty()).then_some(ExcludeSelectItem::Multiple(excluded));
    let options = WildcardAdditionalOptions { opt_exclude: exclude, ..WildcardAdditionalOptions::default() };
    let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![relation.clone()]));
    SelectItem::QualifiedWildcard(kind, options)
}

/// Names fold as in Postgres.
fn same(a: &Ident, b: &Ident) -> bool {
    let folded = |ident: &Ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    folded(a) == folded(b)
}

fn not_plain(name: &Ident) -> Error {
    Error::unsupported(
        format!("USING ({name}) over several relations beside a FULL JOIN is not supported"),
        "join with ON, and select coalesce(…) of the columns",
    )
}
