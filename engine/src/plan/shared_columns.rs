//! JOIN … USING: the shared column is that of the side that has the row, and comes first in `*`. DataFusion takes the left
//! side's, in the left side's place, so on the AST
//!
//! ```sql
//! SELECT k, v, w FROM a FULL JOIN b USING (k)
//! SELECT coalesce(a.k, b.k) AS k, v, w FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! and `*` becomes `coalesce(a.k, b.k) AS k, a.* EXCEPT (k), b.* EXCEPT (k)`. All USING of a chain with a FULL or RIGHT JOIN are
//! written out; elsewhere only `*` is, and bare names get the relation that has them. The columns are not known here: refused are
//! NATURAL FULL and RIGHT JOIN, and a shared column of which it is not plain which relation on the left has it. Without such a
//! join, `*` is then left in DataFusion's order, and a bare name bare.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};

use super::normalise::{Refusal, call, each_own_expression};
use crate::Error;

/// Rewrites a query's own SELECT with its ORDER BY.
pub(super) fn rewrite_query(query: &mut Query) -> Result<(), Refusal> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let shared = rewrite_select(select)?;
    if let Some(OrderByKind::Expressions(sorts)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        for sort in sorts {
            let item = |name: &Ident| select.projection.iter().find(|item| is_named(item, name));
            let is_other = matches!(&sort.expr, Expr::Identifier(name) if item(name).is_some_and(|item| !shared.is_left(name, item)));
            if !is_other {
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
    if !select.from.iter().any(keeps_the_right) {
        order_wildcards(select);
        let shared = of_the_left(&select.from);
        shared.put_into_all(select, &[]);
        return Ok(shared);
    }
    let (mut shared, mut everything) = (Shared::default(), Vec::new());
    for from in &mut select.from {
        let is_rewritten = keeps_the_right(from);
        everything.extend(write_out(from, is_rewritten, &mut shared)?);
    }
    shared.put_into_all(select, &everything);
    Ok(shared)
}

/// The shared columns where no join keeps rows of its right side: they are the left's. Bare ones the planner takes for columns of
/// the query around this one, where that has columns of such names. One of which it is not plain who has it stays bare.
fn of_the_left(from: &[TableWithJoins]) -> Shared {
    let mut shared = Shared::default();
    if let [TableWithJoins { relation, joins }] = from
        && let (Ok(left), Some(Ok(Some((_, columns))))) = (name_of(relation), joins.first().map(using))
    {
        shared.columns = columns.into_iter().map(|name| (name.clone(), of_relation(&left, &name))).collect();
    }
    shared
}

/// `*` with the shared columns first, where they are all plain; the joins stay as they are.
fn order_wildcards(select: &mut Select) {
    let is_plain =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(options) if options.opt_exclude.is_none() && options.opt_except.is_none());
    if !select.projection.iter().any(is_plain) || !select.from.iter().any(|from| from.joins.iter().any(has_using)) {
        return;
    }
    let mut shared = Shared::default();
    let columns = select.from.iter().cloned().map(|mut from| write_out(&mut from, true, &mut shared));
    let Ok(columns) = columns.collect::<Result<Vec<_>, _>>() else { return };
    let columns = columns.concat();
    for item in std::mem::take(&mut select.projection) {
        match is_plain(&item) {
            true => select.projection.extend(columns.iter().cloned()),
            false => select.projection.push(item),
        }
    }
}

fn has_using(join: &Join) -> bool {
    matches!(kind(join), Some((_, JoinConstraint::Using(_))))
}

/// Whether it has a join with shared columns that gives rows of its right side alone.
fn keeps_the_right(from: &TableWithJoins) -> bool {
    from.joins
        .iter()
        .any(|join| matches!(kind(join), Some((Side::Right | Side::Either, JoinConstraint::Using(_) | JoinConstraint::Natural))))
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

    /// Whether an item of a select list is the shared column of this name, and that one the left's.
    fn is_left(&self, name: &Ident, item: &SelectItem) -> bool {
        let SelectItem::ExprWithAlias { expr: expr @ Expr::CompoundIdentifier(_), .. } = item else { return false };
        self.of(name).is_some_and(|shared| shared == *expr)
    }

    /// The same in all parts of a SELECT; `everything` is what `*` stands for, if something else.
    fn put_into_all(&self, select: &mut Select, everything: &[SelectItem]) {
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options)
                    if !everything.is_empty() && options.opt_exclude.is_none() && options.opt_except.is_none() =>
                {
                    items.extend(everything.iter().cloned());
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => items.push(match self.of(&name) {
                    Some(expr) => SelectItem::ExprWithAlias { expr, alias: name },
                    None => SelectItem::UnnamedExpr(Expr::Identifier(name)),
                }),
                mut item => {
                    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = &mut item {
                        self.put_into(expr);
                    }
                    items.push(item);
                }
            }
        }
        select.projection = items;
        for expr in select.selection.iter_mut().chain(&mut select.having) {
            self.put_into(expr);
        }
        if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
            groups.iter_mut().for_each(|group| self.put_into(group));
        }
    }

    /// Puts what a shared column is in place of its bare name; names in a subquery may be its own and are left.
    fn put_into(&self, expr: &mut Expr) {
        each_own_expression(expr, &mut |expr| {
            if let Expr::Identifier(name) = &*expr
                && let Some(shared) = self.of(name)
            {
                *expr = shared;
            }
        });
    }
}

/// Writes the USING of one item of FROM out as ON; what `*` is of it.
fn write_out(from: &mut TableWithJoins, is_rewritten: bool, shared: &mut Shared) -> Result<Vec<SelectItem>, Refusal> {
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
        } else if let (true, Some(JoinConstraint::On(condition))) = (is_rewritten, constraint(join)) {
            shared.put_into(condition);
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

fn kind(join: &Join) -> Option<(Side, &JoinConstraint)> {
    match &join.join_operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => Some((Side::Left, constraint)),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => Some((Side::Left, constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => Some((Side::Right, constraint)),
        JoinOperator::FullOuter(constraint) => Some((Side::Either, constraint)),
        _ => None,
    }
}

fn using(join: &Join) -> Result<Option<(Side, Vec<Ident>)>, Refusal> {
    match kind(join) {
        Some((side, JoinConstraint::Using(names))) => Ok(Some((side, names.iter().filter_map(last).collect()))),
        Some((_, JoinConstraint::Natural)) => {
            let error =
                Error::unsupported("NATURAL JOIN beside or as a FULL or RIGHT JOIN is not supported", "name the shared columns in USING");
            Err(Refusal::of(join, error))
        }
        _ => Ok(None),
    }
}

/// `left AND right`.
pub(super) fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

fn set_condition(join: &mut Join, conditions: Vec<Expr>) {
    let on = JoinConstraint::On(conditions.into_iter().reduce(both).expect("USING names a column"));
    *constraint(join).expect("only these joins have USING") = on;
}

fn constraint(join: &mut Join) -> Option<&mut JoinConstraint> {
    match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// The name by which columns of a relation in FROM are qualified.
pub(super) fn name_of(factor: &TableFactor) -> Result<Ident, Refusal> {
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
        let error = Error::unsupported("FULL or RIGHT JOIN USING beside something without a name is not supported", "give it an alias");
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
        format!("USING ({name}) over several relations beside a FULL or RIGHT JOIN is not supported"),
        "join with ON, and select coalesce(…) of the columns",
    )
}
