//! What drivers and tools write that only Postgres understands, as what the planner does: names qualified by `pg_catalog`,
//! `OPERATOR(pg_catalog.~)`, `COLLATE pg_catalog.default`, casts to types of the system catalog,
//! `= ANY('{a,b}')`, `substring(x FOR n)`, functions in FROM, and the system column `tableoid`.
//!
//! Part of the pass of [`super::meaning`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use catalog::SqlType;
use catalog::types::SystemType;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::meaning::read_as;
use super::names;
use super::normalise::{call, is_named, plain_arguments, take};
use super::parse::parse_query;
use super::parse::types::data_type;
use crate::functions::scalar::like_lists;

/// The schemas whose functions are called with their name.
const SYSTEM_SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

/// The function that casts to the types of the system catalog.
pub const CAST: &str = "pg_cast";

/// Functions in FROM that are relations already.
const TABLE_FUNCTIONS: [&str; 9] =
    ["generate_series", "range", "pg_get_keywords", "pg_show_all_settings", "tumble", "hop", "cumulate", "session", "unnest"];

/// Rewrites one expression, whose parts are rewritten already.
pub(super) fn rewrite_expr(expr: &mut Expr) {
    match expr {
        Expr::Function(function) => {
            unqualify(&mut function.name);
            rewrite_call(expr);
        }
        Expr::BinaryOp { op, .. } => rewrite_operator(op),
        Expr::Collate { collation, .. } if is_byte_order(collation) => {
            let Expr::Collate { expr: inner, .. } = take(expr) else { unreachable!("matched above") };
            *expr = *inner;
        }
        Expr::Cast { .. } => rewrite_cast(expr),
        // From its beginning, which DataFusion counts in another type than `substring` takes.
        Expr::Substring { substring_from: from @ None, substring_for: Some(_), .. } => {
            *from = Some(Box::new(integer("1")));
        }
        // Of a list that is made here the planner takes the n-th value as an aggregate that views and frames do not have.
        Expr::CompoundFieldAccess { root, access_chain }
            if is_array_agg(root) && matches!(access_chain.as_slice(), [AccessExpr::Subscript(ast::Subscript::Index { .. })]) =>
        {
            let Some(AccessExpr::Subscript(ast::Subscript::Index { index })) = access_chain.pop() else { return };
            *expr = call("array_element", [take(root), index]);
        }
        // `a.b[1]` begins with a name, `(f(x)).b` with a value.
        Expr::CompoundFieldAccess { root, access_chain } if !matches!(root.as_ref(), Expr::Identifier(_)) => {
            for access in access_chain {
                if let AccessExpr::Dot(field) = access
                    && let Expr::Identifier(name) = field
                {
                    *field = Expr::value(Value::SingleQuotedString(names::fold(name)));
                }
            }
        }
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
            let literal = match right.as_ref() {
                Expr::Nested(inner) => text_literal(inner),
                other => text_literal(other),
            };
            if let Some(text) = literal {
                **right = read_as(&text, &SqlType::Array(Box::new(SqlType::Text)));
            }
            like_list(expr);
            any_as_not_all(expr);
        }
        _ => {}
    }
}

fn is_array_agg(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_array_agg(inner),
        Expr::Function(function) => is_named(function, "array_agg"),
        _ => false,
    }
}

/// `x LIKE ANY (array)` is a call; the same of ALL, ILIKE and NOT.
fn like_list(expr: &mut Expr) {
    let (is_any, compare_op, right) = match expr {
        Expr::AnyOp { compare_op, right, .. } => (true, compare_op, right),
        Expr::AllOp { compare_op, right, .. } => (false, compare_op, right),
        _ => return,
    };
    if matches!(right.as_ref(), Expr::Subquery(_)) {
        return;
    }
    // Unlike one of them: not like all.
    let (name, is_negated) = match (&*compare_op, is_any) {
        (BinaryOperator::PGLikeMatch, true) => (like_lists::LIKE_ANY, false),
        (BinaryOperator::PGLikeMatch, false) => (like_lists::LIKE_ALL, false),
        (BinaryOperator::PGILikeMatch, true) => (like_lists::ILIKE_ANY, false),
        (BinaryOperator::PGILikeMatch, false) => (like_lists::ILIKE_ALL, false),
        (BinaryOperator::PGNotLikeMatch, true) => (like_lists::LIKE_ALL, true),
        (BinaryOperator::PGNotLikeMatch, false) => (like_lists::LIKE_ANY, true),
        (BinaryOperator::PGNotILikeMatch, true) => (like_lists::ILIKE_ALL, true),
        (BinaryOperator::PGNotILikeMatch, false) => (like_lists::ILIKE_ANY, true),
        _ => return,
    };
    let (Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }) = take(expr) else { return };
    let of_list = call(name, [*left, *right]);
    *expr = if is_negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(of_list) } } else { of_list };
}

/// `x < ANY (array)` is `NOT x >= ALL (array)`, nulls included: the planner forgets them in ANY. `x = ANY (ARRAY[…])` is `x IN (…)`.
fn any_as_not_all(expr: &mut Expr) {
    let Expr::AnyOp { left, compare_op, right, .. } = expr else { return };
    let opposite = match compare_op {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        _ => return,
    };
    let (left, mut array) = (Box::new(take(left)), take(right));
    while let Expr::Nested(inner) = array {
        array = *inner;
    }
    *expr = match array {
        Expr::Array(items) if opposite == BinaryOperator::NotEq && !items.elem.is_empty() => {
            Expr::InList { expr: left, list: items.elem, negated: false }
        }
        subquery @ Expr::Subquery(_) => {
            let compare_op = compare_op.clone();
            Expr::AnyOp { left, compare_op, right: Box::new(subquery), is_some: false }
        }
        array => {
            let all = Expr::AllOp { left, compare_op: opposite, right: Box::new(array) };
            Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(all))) }
        }
    };
}

/// `pg_catalog.f` is `f`.
fn unqualify(name: &mut ObjectName) {
    if let [schema, _] = name.0.as_slice()
        && schema.as_ident().is_some_and(|schema| SYSTEM_SCHEMAS.contains(&names::fold(schema).as_str()))
    {
        name.0.remove(0);
    }
}

fn rewrite_call(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [part] = function.name.0.as_slice() else { return };
    let Some(name) = part.as_ident().map(names::fold) else { return };
    match name.as_str() {
        // Sets in the select list are lists there, taken apart.
        "generate_subscripts" | "_pg_expandarray" => {
            if let Some(arguments) = plain_arguments(function) {
                let list = call(&format!("{name}_list"), arguments.into_iter().cloned());
                *expr = call("unnest", [list]);
            }
        }
        _ => {}
    }
}

/// `OPERATOR(pg_catalog.~)` and the operators behind LIKE.
fn rewrite_operator(operator: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = operator else { return };
    let known = match parts.last().map(String::as_str) {
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">") => BinaryOperator::Gt,
        Some(">=") => BinaryOperator::GtEq,
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("!~~*") => BinaryOperator::PGNotILikeMatch,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("*") => BinaryOperator::Multiply,
        Some("/") => BinaryOperator::Divide,
        Some("||") => BinaryOperator::StringConcat,
        _ => return,
    };
    *operator = known;
}

/// Text is compared byte by byte: that is all these say.
fn is_byte_order(collation: &ObjectName) -> bool {
    let last = collation.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|name| matches!(name.value.to_ascii_lowercase().as_str(), "default" | "c" | "posix" | "ucs_basic"))
}

fn rewrite_cast(expr: &mut Expr) {
    let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type: target, .. } = expr else { return };
    let Some(sql_type) = system_or_qualified(target) else { return };
    match sql_type.innermost() {
        SqlType::System(SystemType::Name) => *target = data_type(&text_of(&sql_type)),
        SqlType::System(_) => {
            let name = Expr::value(Value::SingleQuotedString(sql_type.to_string()));
            *expr = call(CAST, [take(inner), name]);
        }
        _ => *target = data_type(&sql_type),
    }
}

fn text_of(sql_type: &SqlType) -> SqlType {
    match sql_type {
        SqlType::Array(item) => SqlType::Array(Box::new(text_of(item))),
        _ => SqlType::Text,
    }
}

/// A type that is the system catalog's own, or qualified by its schema.
fn system_or_qualified(declared: &DataType) -> Option<SqlType> {
    match declared {
        DataType::Regclass => Some(SqlType::System(SystemType::RegClass)),
        DataType::Custom(name, modifiers) => {
            let modifiers = if modifiers.is_empty() { String::new() } else { format!("({})", modifiers.join(",")) };
            format!("{name}{modifiers}").parse().ok()
        }
        DataType::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) => Some(SqlType::Array(Box::new(system_or_qualified(element)?))),
        _ => None,
    }
}

fn text_literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

/// Rewrites a function in FROM into what the planner has for it.
pub(super) fn rewrite_factor(factor: &mut TableFactor) {
    if let TableFactor::UNNEST { .. } = factor {
        return rewrite_unnest(factor);
    }
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &mut args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return,
    };
    unqualify(name);
    let [part] = name.0.as_slice() else { return };
    let Some(function) = part.as_ident().map(names::fold) else { return };
    let arguments: Option<Vec<Expr>> = args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(arguments) = arguments else { return };
    match function.as_str() {
        "unnest" => {
            let alias = alias.take();
            *factor =
                TableFactor::UNNEST { alias, array_exprs: arguments, with_offset: false, with_offset_alias: None, with_ordinality: false };
            rewrite_unnest(factor);
        }
        // The planner takes constants alone for a function in FROM, and of them whole numbers.
        "generate_series" if !arguments.iter().all(is_whole) => {
            let mut alias = alias.take().unwrap_or_else(|| plain_alias(&function));
            if alias.columns.is_empty() {
                alias.columns = vec![TableAliasColumnDef::from_name(alias.name.value.as_str())];
            }
            let array_exprs = vec![call("generate_series", arguments)];
            *factor = TableFactor::UNNEST {
                alias: Some(alias),
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality: false,
            };
        }
        "generate_subscripts" => {
            *factor = derived(call("unnest", [call("generate_subscripts_list", arguments)]), &function, alias.take());
        }
        "generate_series" => {
            let alias = alias.get_or_insert_with(|| plain_alias(&function));
            if alias.columns.is_empty() {
                alias.columns = vec![TableAliasColumnDef::from_name(alias.name.value.as_str())];
            }
        }
        known if TABLE_FUNCTIONS.contains(&known) => {}
        _ => *factor = derived(call(&function, arguments), &function, alias.take()),
    }
}

/// `unnest(…) WITH ORDINALITY` has the numbers as one more list. Lists that are equal get names of their own, which DataFusion's
/// plan wants: it names a column by its expression without casts.
fn rewrite_unnest(factor: &mut TableFactor) {
    let TableFactor::UNNEST { alias, array_exprs: lists, with_ordinality, .. } = factor else { return };
    if lists.len() == 1 {
        let alias = alias.get_or_insert_with(|| plain_alias("unnest"));
        if alias.columns.is_empty() {
            alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
        }
        if *with_ordinality && alias.columns.len() == 1 {
            alias.columns.push(TableAliasColumnDef::from_name("ordinality"));
        }
    }
    if std::mem::take(with_ordinality) {
        let bigint = |expr: Expr| Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type: DataType::BigInt(None),
            format: None,
            array: false,
        };
        let mut lengths = lists.iter().map(|list| bigint(call("coalesce", [call("cardinality", [list.clone()]), integer("0")])));
        let longest = match lists.len() {
            1 => lengths.next().expect("there is one"),
            _ => call("greatest", lengths),
        };
        lists.push(call("generate_series", [bigint(integer("1")), longest]));
    }
    for place in 1..lists.len() {
        while lists[..place].iter().any(|earlier| without_casts(earlier) == without_casts(&lists[place])) {
            lists[place] = call("coalesce", [take(&mut lists[place])]);
        }
    }
}

fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => without_casts(expr),
        other => other,
    }
}

fn integer(text: &str) -> Expr {
    read_as(text, &SqlType::Integer)
}

/// Whether it is a whole number, or computed of such.
fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ast::ValueWithSpan { value, .. }) => matches!(value, Value::Number(..) | Value::Placeholder(_) | Value::Null),
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_whole(expr),
        Expr::BinaryOp { left, right, .. } => is_whole(left) && is_whole(right),
        Expr::Cast { expr, data_type, .. } => {
            is_whole(expr) && matches!(data_type, DataType::Int(_) | DataType::Integer(_) | DataType::BigInt(_) | DataType::SmallInt(_))
        }
        _ => false,
    }
}

/// `(SELECT value AS name) AS alias`.
fn derived(value: Expr, function: &str, alias: Option<TableAlias>) -> TableFactor {
    let alias = alias.unwrap_or_else(|| plain_alias(function));
    let mut query = parse_query("SELECT 1").expect("our own text is a query");
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::ExprWithAlias { expr: value, alias: alias.name.clone() }];
    }
    TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None }
}

/// A function in FROM is known by its name.
fn plain_alias(function: &str) -> TableAlias {
    TableAlias { explicit: true, name: names::quoted(function), columns: vec![], at: None }
}

/// `t.*` where FROM has `public.t`: DataFusion finds columns by the last part of a qualified name, but `*` by all of it alone.
pub(super) fn qualify_wildcards(select: &mut Select) {
    let factors = select.from.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let qualified: Vec<ObjectName> = factors
        .filter_map(names::plain_relation)
        .filter(|(name, alias)| alias.is_none() && name.0.len() > 1)
        .map(|(name, _)| name.clone())
        .collect();
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).map(names::fold);
    for item in &mut select.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            && name.0.len() == 1
            && let Some(full) = qualified.iter().find(|full| last(full) == last(name))
        {
            *name = full.clone();
        }
    }
}

/// `c.tableoid`, where `c` is a relation of `pg_catalog`, is that relation's id.
pub(super) fn rewrite_system_columns(select: &mut Select) {
    let mut relations = BTreeMap::new();
    let factors = select.from.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    for (name, alias) in factors.filter_map(names::plain_relation) {
        let Ok(found) = names::name(name) else { continue };
        if found.name.starts_with("pg_") && found.schema.as_deref().is_none_or(|schema| schema == "pg_catalog") {
            let known_as = alias.map_or_else(|| found.name.clone(), |alias| names::fold(&alias.name));
            relations.insert(known_as, found.name);
        }
    }
    if !relations.is_empty() {
        let _ = VisitMut::visit(select, &mut SystemColumns { relations });
    }
}

struct SystemColumns {
    relations: BTreeMap<String, String>,
}

impl VisitorMut for SystemColumns {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [relation, column] = parts.as_slice()
            && names::fold(column) == "tableoid"
            && let Some(relation) = self.relations.get(&names::fold(relation))
        {
            let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
            *expr = call(CAST, [text(&format!("pg_catalog.{relation}")), text(SystemType::RegClass.text())]);
        }
        ControlFlow::Continue(())
    }
}
