//! JOIN … USING and NATURAL JOIN: a shared column is that of the side that has the row, and comes first in `*`. DataFusion takes
//! the left side's, in the left side's place, and looks for shared columns in subqueries, too. So no such join is left to it: on
//! the AST
//!
//! ```sql
//! SELECT k, v, w FROM a FULL JOIN b USING (k)
//! SELECT coalesce(a.k, b.k) AS k, v, w FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! and `*` becomes `coalesce(a.k, b.k) AS k, a.v, b.w`. That needs the columns of relations, so it is done when a statement is
//! planned ([`Columns`] says them). For the same reason names in HAVING and in expressions of ORDER BY, which are those of columns in FROM
//! whatever the select list calls so, are qualified here. Where they are not known, of a function in FROM, `*` keeps it whole, and NATURAL JOIN is refused.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::Result as DataFusionResult;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};

use super::from_columns::{Has, Item, is_of, natural};
use super::names::{fold, quoted};
use super::normalise::{call, each_own_expression};
use super::output_names::{apart_from_sorts, has_hidden, hides, under_names};
use super::parse::parse_query;
use super::relation::external;
use crate::Error;

/// Says the columns of relations.
pub(super) trait Columns {
    /// Those of a table, stream or view; `None` when there is none of that name.
    fn of(&self, name: &ObjectName) -> Option<Vec<String>>;
}

/// The query without USING and NATURAL.
pub(super) fn written_out(mut query: Query, columns: &dyn Columns) -> DataFusionResult<Query> {
    if needs_columns(&query) {
        Writer { columns, queries: Vec::new(), renamed: None, outer: Vec::new(), beside: 0 }.query(&mut query).map_err(external)?;
    }
    Ok(query)
}

/// Whether a join in it has USING or NATURAL, or a parenthesised one a name, or columns get names, or a name in it may be another's
/// than the planner would say: where there are several queries, or the select list gives a column's name to something else.
fn needs_columns(query: &Query) -> bool {
    struct Found {
        n_queries: usize,
        is_needed: bool,
    }
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            self.is_needed |= select.from.iter().any(any_shared) || select.from.iter().any(has_declared);
            self.is_needed |= select.having.as_ref().is_some_and(|having| has_hidden(having, &select.projection));
            if self.is_needed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.n_queries += 1;
            self.is_needed |= self.n_queries > 1 || has_hidden_sort(query);
            if self.is_needed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut found = Found { n_queries: 0, is_needed: false };
    let _ = Visit::visit(query, &mut found);
    found.is_needed
}

/// Whether columns get names in it.
fn has_declared(from: &TableWithJoins) -> bool {
    let mut factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    factors.any(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => !alias.columns.is_empty(),
        _ => false,
    })
}

fn has_hidden_sort(query: &Query) -> bool {
    let (SetExpr::Select(select), Some(OrderByKind::Expressions(sorts))) =
        (query.body.as_ref(), query.order_by.as_ref().map(|order| &order.kind))
    else {
        return false;
    };
    sorts.iter().any(|sort| !matches!(sort.expr, Expr::Identifier(_)) && has_hidden(&sort.expr, &select.projection))
}

fn any_shared(from: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, alias } => alias.is_some() || any_shared(table_with_joins),
        _ => false,
    };
    let has_shared = |join: &Join| matches!(constraint(&join.join_operator), Some((_, JoinConstraint::Using(_) | JoinConstraint::Natural)));
    nested(&from.relation) || from.joins.iter().any(|join| has_shared(join) || nested(&join.relation))
}

/// `left AND right`.
pub(super) fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// The name by which columns of a relation in FROM are qualified.
pub(super) fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Columns' names; `None` for one without a name that can be written.
type Names = Vec<Option<String>>;

struct Writer<'a> {
    columns: &'a dyn Columns,
    /// The queries of WITH in scope, the nearest last, and their columns where they are known.
    queries: Vec<(String, Option<Names>)>,
    /// What the columns of the SELECT just written are to be called.
    renamed: Option<Vec<String>>,
    /// The shared columns of the queries around, the nearest last.
    outer: Vec<(String, Expr)>,
    /// From where on they are those of the FROM at hand, which only what is lateral sees.
    beside: usize,
}

impl Writer<'_> {
    /// Writes a query out; its columns, where they are known.
    fn query(&mut self, query: &mut Query) -> Result<Option<Names>, Error> {
        let n_queries = self.queries.len();
        if let Some(with) = &mut query.with {
            let is_recursive = with.recursive;
            for named in &mut with.cte_tables {
                let declared = declared(&named.alias);
                let name = fold(&named.alias.name);
                if is_recursive {
                    let own = declared.clone().or_else(|| self.first_names(&named.query.body));
                    self.queries.push((name.clone(), own));
                }
                let columns = self.query(&mut named.query)?;
                name_the_rest(&mut named.alias, columns.as_ref());
                if is_recursive {
                    self.queries.pop();
                }
                self.queries.push((name, renamed(columns, declared)));
            }
        }
        let sorts = match query.order_by.as_mut().map(|order| &mut order.kind) {
            Some(OrderByKind::Expressions(sorts)) => sorts.as_mut_slice(),
            _ => &mut [],
        };
        let sorts = sorts.iter_mut().map(|sort| &mut sort.expr).collect();
        let columns = self.body(&mut query.body, sorts)?;
        if let Some(names) = self.renamed.take() {
            under_names(query, &names)?;
        }
        self.queries.truncate(n_queries);
        Ok(columns)
    }

    /// The columns of a recursion's first query, before it is written out.
    fn first_names(&mut self, body: &SetExpr) -> Option<Names> {
        match body {
            SetExpr::SetOperation { left, .. } => self.first_names(left),
            other => self.body(&mut other.clone(), Vec::new()).ok().flatten(),
        }
    }

    fn body(&mut self, body: &mut SetExpr, sorts: Vec<&mut Expr>) -> Result<Option<Names>, Error> {
        match body {
            SetExpr::Select(select) => self.select(select, sorts),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                let columns = self.body(left, Vec::new())?;
                self.body(right, Vec::new())?;
                Ok(columns)
            }
            SetExpr::Values(values) => {
                let n_columns = values.rows.first().map_or(0, |row| row.len());
                for cell in values.rows.iter_mut().flat_map(|row| row.iter_mut()) {
                    self.subqueries(cell)?;
                }
                Ok(Some((1..=n_columns).map(|place| Some(format!("column{place}"))).collect()))
            }
            _ => Ok(None),
        }
    }

    fn select(&mut self, select: &mut Select, sorts: Vec<&mut Expr>) -> Result<Option<Names>, Error> {
        let n_outer = self.outer.len();
        let mut has = Has::default();
        let is_shared = select.from.iter().any(any_shared);
        let beside = std::mem::replace(&mut self.beside, n_outer);
        for from in &mut select.from {
            let more = self.joins(from)?;
            has = has.and(more);
            self.outer.extend(has.shared());
        }
        self.beside = beside;
        let own = Own { shared: has.shared(), around: self.outer[..n_outer].to_vec(), has: &has };
        own.put_into_all(select, is_shared);
        let renamed = own.put_into_sorts(select, sorts);
        if let Some(having) = &mut select.having {
            each_own_expression(having, &mut |expr| own.qualify(expr, &select.projection));
        }
        if let Some(Distinct::On(keys)) = &mut select.distinct {
            each_own_expression(keys, &mut |expr| own.qualify(expr, &select.projection));
        }
        self.outer.truncate(n_outer);
        // Nearer names hide those further out.
        self.outer.retain(|(name, _)| !has.may_have(name));
        self.outer.extend(has.shared());
        let visited = self.subqueries_of(select);
        self.outer.truncate(0);
        self.outer.extend(own.around);
        visited?;
        match renamed {
            Some(names) => {
                self.renamed = Some(names.clone());
                Ok(Some(names.into_iter().map(Some).collect()))
            }
            None => Ok(names_of(&select.projection, &has)),
        }
    }

    /// The subqueries in a SELECT's expressions; those in FROM are written out already.
    fn subqueries_of(&mut self, select: &mut Select) -> Result<(), Error> {
        let from = std::mem::take(&mut select.from);
        let visited = self.subqueries(select);
        select.from = from;
        visited
    }

    fn subqueries(&mut self, node: &mut impl VisitMut) -> Result<(), Error> {
        struct Subqueries<'a, 'b> {
            writer: &'a mut Writer<'b>,
            depth: usize,
        }
        impl VisitorMut for Subqueries<'_, '_> {
            type Break = Error;
            fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
                self.depth += 1;
                match if self.depth == 1 { self.writer.query(query) } else { Ok(None) } {
                    Ok(_) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(error),
                }
            }
            fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
                self.depth -= 1;
                ControlFlow::Continue(())
            }
        }
        match VisitMut::visit(node, &mut Subqueries { writer: self, depth: 0 }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn joins(&mut self, from: &mut TableWithJoins) -> Result<Has, Error> {
        let mut left = self.factor(&mut from.relation)?;
        for join in &mut from.joins {
            let n_outer = self.outer.len();
            self.outer.extend(left.shared());
            let right = self.factor(&mut join.relation);
            self.outer.truncate(n_outer);
            left = self.join(left, right?, join)?;
        }
        Ok(left)
    }

    fn join(&mut self, mut left: Has, mut right: Has, join: &mut Join) -> Result<Has, Error> {
        let names = match constraint(&join.join_operator) {
            Some((_, JoinConstraint::Using(names))) => names.iter().filter_map(|name| name.0.last()?.as_ident().map(fold)).collect(),
            Some((_, JoinConstraint::Natural)) => natural(&left, &right)?,
            _ => {
                let both = left.and(right);
                if let Some(JoinConstraint::On(condition)) = constraint_mut(&mut join.join_operator) {
                    let own = Own { shared: both.shared(), around: self.outer.clone(), has: &both };
                    own.put_into(condition);
                    self.subqueries(condition)?;
                }
                return Ok(both);
            }
        };
        let kind = constraint(&join.join_operator).map_or(Side::Left, |(side, _)| side);
        let (mut shared, mut conditions) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for name in names {
            let (of_left, of_right) = (left.take(&name, "left")?, right.take(&name, "right")?);
            let equality = Expr::BinaryOp { left: Box::new(of_left.clone()), op: BinaryOperator::Eq, right: Box::new(of_right.clone()) };
            conditions.push(equality);
            let expr = match kind {
                Side::Left => of_left,
                Side::Right => of_right,
                Side::Either => call("coalesce", [of_left, of_right]),
            };
            shared.push(Item::Column { name, expr: Box::new(expr), is_shared: true });
        }
        let condition = conditions.into_iter().reduce(both).unwrap_or_else(|| Expr::value(Value::Boolean(true)));
        if let Some(constraint) = constraint_mut(&mut join.join_operator) {
            *constraint = JoinConstraint::On(condition);
        }
        Ok(Has(shared).and(left).and(right))
    }

    /// Writes out what is in one relation of FROM; its columns.
    fn factor(&mut self, factor: &mut TableFactor) -> Result<Has, Error> {
        let columns = match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let has = self.joins(table_with_joins)?;
                let Some(alias) = alias.take() else { return Ok(has) };
                let mut query = parse_query("SELECT 1")?;
                if let SetExpr::Select(select) = query.body.as_mut() {
                    select.projection = has.items();
                    select.from = vec![(**table_with_joins).clone()];
                }
                let columns = has.names().map(|names| names.into_iter().map(Some).collect());
                let columns = renamed(columns, declared(&alias));
                *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
                columns
            }
            TableFactor::Derived { subquery, alias, lateral, .. } => {
                let hidden = if *lateral { Vec::new() } else { self.outer.split_off(self.beside) };
                let columns = self.query(subquery);
                self.outer.extend(hidden);
                renamed_by(alias.as_mut(), columns?)
            }
            TableFactor::Table { name, args: None, alias, .. } => renamed_by(alias.as_mut(), self.columns_of(name)),
            _ => {
                self.arguments(factor)?;
                columns_of_function(factor)
            }
        };
        let relation = name_of(factor);
        // A column without a name, or with that of another, is told by its place alone: in `*` of the whole relation.
        let known = columns.map(|columns| {
            let n_columns = columns.len();
            let names: Vec<String> = columns.into_iter().flatten().collect();
            (names.iter().collect::<BTreeSet<_>>().len() == n_columns, names)
        });
        Ok(match (known, relation) {
            (Some((true, names)), relation) => {
                let expr = |name: &str| match &relation {
                    Some(relation) => Expr::CompoundIdentifier(vec![relation.clone(), quoted(name)]),
                    None => Expr::Identifier(quoted(name)),
                };
                Has(names.into_iter().map(|name| Item::Column { expr: Box::new(expr(&name)), name, is_shared: false }).collect())
            }
            (known, Some(name)) => Has(vec![Item::Relation { name, known: known.map(|(_, names)| names), taken: Vec::new() }]),
            (_, None) => Has::default(),
        })
    }

    /// A function in FROM sees what stands before it.
    fn arguments(&mut self, factor: &mut TableFactor) -> Result<(), Error> {
        let nothing = Has::default();
        let own = Own { shared: Vec::new(), around: self.outer.clone(), has: &nothing };
        each_own_expression(factor, &mut |expr| own.replace(expr));
        self.subqueries(factor)
    }

    fn columns_of(&self, name: &ObjectName) -> Option<Names> {
        if let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && let Some((_, columns)) = self.queries.iter().rev().find(|(known, _)| *known == fold(ident))
        {
            return columns.clone();
        }
        Some(self.columns.of(name)?.into_iter().map(Some).collect())
    }
}

/// The bare names of one SELECT.
struct Own<'a> {
    shared: Vec<(String, Expr)>,
    /// Shared columns of the queries around.
    around: Vec<(String, Expr)>,
    has: &'a Has,
}

impl Own<'_> {
    fn of(&self, name: &Ident) -> Option<Expr> {
        let name = fold(name);
        if let Some((_, expr)) = self.shared.iter().find(|(known, _)| *known == name) {
            return Some(expr.clone());
        }
        if self.has.may_have(&name) {
            return None;
        }
        let (_, expr) = self.around.iter().rev().find(|(known, _)| *known == name)?;
        let mut is_hidden = false;
        let mut expr = expr.clone();
        each_own_expression(&mut expr, &mut |part| {
            is_hidden |= matches!(part, Expr::CompoundIdentifier(path) if self.has.has_relation(&path[0]));
        });
        (!is_hidden).then_some(expr)
    }

    fn replace(&self, expr: &mut Expr) {
        if let Expr::Identifier(name) = &*expr
            && let Some(shared) = self.of(name)
        {
            *expr = shared;
        }
    }

    /// Puts what a shared column is in place of its bare name, but in subqueries.
    fn put_into(&self, expr: &mut Expr) {
        each_own_expression(expr, &mut |expr| self.replace(expr));
    }

    /// The same in all parts of a SELECT; `*` is written out where joins share columns.
    fn put_into_all(&self, select: &mut Select, is_shared: bool) {
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) if is_shared && options.opt_exclude.is_none() && options.opt_except.is_none() => {
                    items.extend(self.has.items());
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => items.push(match self.of(&name) {
                    Some(expr) => SelectItem::ExprWithAlias { expr, alias: name },
                    None if self.has.may_have(&fold(&name)) => SelectItem::UnnamedExpr(Expr::Identifier(name)),
                    // Of a query around; it keeps its name.
                    None => SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name },
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
        for expr in select.selection.iter_mut().chain(&mut select.having).chain(&mut select.qualify) {
            self.put_into(expr);
        }
        if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
            groups.iter_mut().for_each(|group| self.put_into(group));
        }
        if let Some(Distinct::On(keys)) = &mut select.distinct {
            keys.iter_mut().for_each(|key| self.put_into(key));
        }
    }

    /// A bare name in ORDER BY is the select list's, if that has it; what it is there is put in its place if it is a column. The names
    /// that the query's columns are to have, where they had to be given others.
    fn put_into_sorts(&self, select: &mut Select, mut sorts: Vec<&mut Expr>) -> Option<Vec<String>> {
        for sort in &mut sorts {
            let named = |name: &Ident| select.projection.iter().find(|item| is_named(item, name));
            let is_other = match &**sort {
                Expr::Identifier(name) => named(name).is_some_and(|item| !self.is_column(name, item)),
                _ => false,
            };
            if !is_other {
                self.put_into(sort);
            }
            if !matches!(sort, Expr::Identifier(_)) {
                each_own_expression(&mut **sort, &mut |expr| self.qualify(expr, &select.projection));
            }
        }
        apart_from_sorts(select, &mut sorts)
    }

    /// In HAVING and an expression of ORDER BY a name is that of a column in FROM, where the planner would take one of the select list.
    fn qualify(&self, expr: &mut Expr, items: &[SelectItem]) {
        let Expr::Identifier(name) = &*expr else { return };
        let wanted = fold(name);
        if hides(items, name) && self.has.n_named(&wanted) == 1 {
            let column = self.has.0.iter().find_map(|item| match item {
                Item::Column { name, expr, .. } if *name == wanted => Some(expr.as_ref().clone()),
                _ => None,
            });
            if let Some(column) = column {
                *expr = column;
            }
        }
    }

    /// Whether an item of a select list is the shared column of this name, and that one a column.
    fn is_column(&self, name: &Ident, item: &SelectItem) -> bool {
        let SelectItem::ExprWithAlias { expr: expr @ Expr::CompoundIdentifier(_), .. } = item else { return false };
        self.of(name).is_some_and(|shared| shared == *expr)
    }
}

fn is_named(item: &SelectItem, name: &Ident) -> bool {
    matches!(name_of_item(item), Some(own) if own == fold(name))
}

fn name_of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(fold(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(fold),
        _ => None,
    }
}

/// The columns of a SELECT, where they are known.
fn names_of(items: &[SelectItem], has: &Has) -> Option<Names> {
    let mut names = Names::new();
    for item in items {
        match item {
            SelectItem::Wildcard(options) if options.opt_exclude.is_none() && options.opt_except.is_none() => {
                names.extend(has.names()?.into_iter().map(Some));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(relation), options)
                if options.opt_exclude.is_none() && options.opt_except.is_none() =>
            {
                let relation = relation.0.last()?.as_ident()?;
                let of_relation = |item: &Item| match item {
                    Item::Column { name, expr, .. } if is_of(expr, relation) => Some(name.clone()),
                    _ => None,
                };
                // A shared column may be this relation's, under a name that another one has.
                if has.0.iter().any(|item| matches!(item, Item::Relation { .. } | Item::Column { is_shared: true, .. })) {
                    return None;
                }
                names.extend(has.0.iter().filter_map(of_relation).map(Some));
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => return None,
            item => names.push(name_of_item(item)),
        }
    }
    Some(names)
}

/// The names that an alias gives to the columns of a function in FROM, if to all of them.
fn columns_of_function(factor: &TableFactor) -> Option<Names> {
    let (alias, n_columns) = match factor {
        TableFactor::UNNEST { alias: Some(alias), array_exprs, with_offset: false, with_ordinality, .. } => {
            (alias, array_exprs.len() + usize::from(*with_ordinality))
        }
        TableFactor::Table { name, args: Some(_), alias: Some(alias), with_ordinality, .. } if is_series(name) => {
            (alias, 1 + usize::from(*with_ordinality))
        }
        TableFactor::Function { name, alias: Some(alias), .. } if is_series(name) => (alias, 1),
        _ => return None,
    };
    declared(alias).filter(|names| names.len() == n_columns)
}

fn is_series(name: &ObjectName) -> bool {
    name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| fold(name) == "generate_series")
}

fn declared(alias: &TableAlias) -> Option<Names> {
    (!alias.columns.is_empty()).then(|| alias.columns.iter().map(|column| Some(fold(&column.name))).collect())
}

/// The same of an alias, which is given the names that it leaves out: the planner wants all.
fn renamed_by(alias: Option<&mut TableAlias>, columns: Option<Names>) -> Option<Names> {
    let Some(alias) = alias else { return columns };
    name_the_rest(alias, columns.as_ref());
    renamed(columns, declared(alias))
}

fn name_the_rest(alias: &mut TableAlias, columns: Option<&Names>) {
    let Some(columns) = columns else { return };
    let n_declared = alias.columns.len();
    if n_declared > 0 && n_declared < columns.len() && columns[n_declared..].iter().all(Option::is_some) {
        let rest = columns[n_declared..].iter().flatten();
        alias.columns.extend(rest.map(|name| TableAliasColumnDef { name: quoted(name), data_type: None }));
    }
}

/// The columns under the names that an alias gives to the first of them.
fn renamed(columns: Option<Names>, declared: Option<Names>) -> Option<Names> {
    match (columns, declared) {
        (Some(mut columns), Some(declared)) => {
            columns.iter_mut().zip(declared).for_each(|(column, name)| *column = name);
            Some(columns)
        }
        (columns, None) => columns,
        (None, declared) => declared,
    }
}

/// Which side's column a shared column is.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Either,
}

fn constraint(operator: &JoinOperator) -> Option<(Side, &JoinConstraint)> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => Some((Side::Left, constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => Some((Side::Right, constraint)),
        JoinOperator::FullOuter(constraint) => Some((Side::Either, constraint)),
        _ => None,
    }
}

fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
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
