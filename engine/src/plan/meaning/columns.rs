//! Names of columns that have none: a call is called after its function, a cast after its argument or else its type, the rest
//! `?column?` (`FigureColname` of Postgres). Names may repeat in a result but not in a DataFusion plan, so a repeated one gets a
//! number behind [`REPEATED`], which [`shown`] takes away again.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, SetExpr, TrimWhereField, Value, ValueWithSpan};

use crate::plan::names::fold;
use crate::plan::parse::types::sql_type;

/// Stands between a name and the number that tells it from its likes: a control character, which no one types.
pub(in crate::plan) const REPEATED: char = '\u{1}';

/// The name as a client sees it.
pub(in crate::plan) fn shown(name: &str) -> &str {
    name.split(REPEATED).next().unwrap_or(name)
}

/// Gives each item of a SELECT list the name it has in Postgres, and a number where the name was there already.
pub(super) fn name_items(items: &mut [SelectItem]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = implied(expr);
                let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                match (repetition(&mut seen, &name), is_column) {
                    (None, true) => {}
                    (None, false) => *item = named(expr, name),
                    (Some(unique), _) => *item = named(expr, unique),
                }
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                if let Some(unique) = repetition(&mut seen, &fold(alias)) {
                    *alias = Ident::with_quote('"', unique);
                }
            }
            _ => {}
        }
    }
}

/// What the items of a SELECT list without `*` are called, with a number where the name was there already.
pub(in crate::plan) fn output_names(items: &[SelectItem]) -> Vec<String> {
    let mut seen = HashMap::new();
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => implied(expr),
        SelectItem::ExprWithAlias { alias, .. } => fold(alias),
        _ => "*".into(),
    };
    items.iter().map(name).map(|name| repetition(&mut seen, &name).unwrap_or(name)).collect()
}

fn named(expr: &mut Expr, name: String) -> SelectItem {
    SelectItem::ExprWithAlias { expr: super::take(expr), alias: Ident::with_quote('"', name) }
}

/// The name with a number, if it was there before.
fn repetition(seen: &mut HashMap<String, usize>, name: &str) -> Option<String> {
    let n = seen.entry(name.to_string()).or_default();
    *n += 1;
    (*n > 1).then(|| format!("{name}{REPEATED}{n}"))
}

fn implied(expr: &Expr) -> String {
    figured(expr).map_or_else(|| "?column?".into(), |(name, _)| name)
}

/// How much a name says: that of a column or function is kept through casts and CASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Weak,
    Strong,
}

fn figured(expr: &Expr) -> Option<(String, Strength)> {
    let strong = |name: &str| Some((name.to_string(), Strength::Strong));
    match expr {
        Expr::Identifier(ident) => Some((fold(ident), Strength::Strong)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| (fold(part), Strength::Strong)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figured(inner),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(datafusion::sql::sqlparser::ast::AccessExpr::Dot(Expr::Identifier(field))) => Some((fold(field), Strength::Strong)),
            _ => figured(root),
        },
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(|name| (fold(name), Strength::Strong)),
        Expr::Cast { expr, data_type, .. } => match figured(expr) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some((type_name(data_type), Strength::Weak)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), Strength::Weak)),
        Expr::Interval(_) => Some(("interval".into(), Strength::Weak)),
        Expr::Value(ValueWithSpan { value: Value::Boolean(_), .. }) => Some(("bool".into(), Strength::Weak)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figured) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some(("case".into(), Strength::Weak)),
        },
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => figured(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some((fold(alias), Strength::Strong)),
                _ => None,
            },
            _ => None,
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Position { .. } => strong("position"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        _ => None,
    }
}

/// A type by the name it has in `pg_type`.
fn type_name(data_type: &datafusion::sql::sqlparser::ast::DataType) -> String {
    match sql_type(data_type) {
        Ok(sql_type) => sql_type.innermost().pg().name.to_string(),
        Err(_) => data_type.to_string().to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::parse::parse_query;

    fn check(items: &str, expected: &str) {
        let mut query = parse_query(&format!("SELECT {items} FROM t")).expect(items);
        let SetExpr::Select(select) = query.body.as_mut() else { panic!("a SELECT") };
        name_items(&mut select.projection);
        let names: Vec<String> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.value.replace(REPEATED, "#"),
                other => other.to_string(),
            })
            .collect();
        assert_eq!(names.join(" "), expected, "{items}");
    }

    #[test]
    fn columns_are_called_as_in_postgres() {
        check("a, t.b, a + 1, 1, count(*), \"Odd\"", "a t.b ?column? ?column?#2 count \"Odd\"");
        check("a::text, 1::int, '1'::numeric, upper(a)::text, DATE '2024-01-01', true", "a int4 numeric upper date bool");
        check("CASE WHEN a THEN 1 END, CASE WHEN a THEN 1 ELSE b END, coalesce(a, b), (SELECT max(x) FROM u)", "case b coalesce max");
        check("a, a, b AS a, *, t.*", "a a#2 a#3 * t.*");
        check("extract(year FROM a), trim(a), a AT TIME ZONE 'UTC', ARRAY[1], EXISTS (SELECT 1)", "extract btrim timezone array exists");
    }
}
