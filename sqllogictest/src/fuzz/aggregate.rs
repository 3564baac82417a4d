//! Random aggregations: grouped and not, with HAVING, over sets of groupings.

use rand::Rng;

use super::from::raw;
use super::query::{Column, Queries};
use super::reach::Construct;
use super::values::Type;

impl Queries<'_> {
    pub(super) fn aggregated(&mut self, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let keys = self.keys(&own);
        let outputs: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(place, kind)| {
                let key = if self.one_in(2) { self.column(*kind, &keys) } else { None };
                format!("{} AS c{place}", key.unwrap_or_else(|| self.aggregate(*kind, &own)))
            })
            .collect();
        let wheres = self.wheres(&scope);
        let groups = keys.iter().map(|key| key.sql.clone()).collect::<Vec<_>>().join(", ");
        self.uses(if keys.is_empty() { Construct::NoGroups } else { Construct::GroupBy });
        let group_by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {groups}") };
        let having = if self.one_in(4) { self.having(&own, &keys) } else { String::new() };
        format!("SELECT {} FROM {from}{wheres}{group_by}{having}", outputs.join(", "))
    }

    /// Columns and expressions to group by, perhaps none.
    fn keys(&mut self, own: &[Column]) -> Vec<Column> {
        let n_keys = self.one_of(&[0, 1, 1, 2]).min(own.len());
        let mut key = || {
            let column = own[self.rng.random_range(0..own.len())].clone();
            let sql = column.sql.as_str();
            let made = match column.kind {
                _ if self.rng.random_bool(0.6) => return column,
                Type::Number => format!("({sql} + 1)"),
                Type::Time => format!("date_trunc('hour', {sql})"),
                kind => format!("coalesce({sql}, {})", kind.literal(self.rng)),
            };
            self.uses(Construct::GroupByExpression);
            Column { sql: made, kind: column.kind }
        };
        (0..n_keys).map(|_| key()).collect()
    }

    fn having(&mut self, own: &[Column], keys: &[Column]) -> String {
        self.uses(Construct::Having);
        if self.depth == 0 && self.one_in(8) {
            if let Some(time) = self.column(Type::Time, own) {
                self.uses(Construct::Clock);
                return format!(" HAVING max({time}) + INTERVAL '40000 days' > now()");
            }
        }
        let (left, operator) = (self.aggregate(Type::Number, own), self.one_of(&["<", "<>", ">=", ">="]));
        // PostgreSQL does not find expressions that are grouped by inside of subqueries.
        let keys: Vec<Column> = keys.iter().filter(|key| !key.sql.contains(' ')).cloned().collect();
        let right = match self.one_in(2) {
            true => self.at(Construct::SubqueryInHaving, |this| this.scalar_subquery(Type::Number, &keys)),
            false => self.literal(Type::Number),
        };
        format!(" HAVING {left} {operator} {right}")
    }

    /// `SELECT aggregate FROM …`: exactly one row.
    pub(super) fn one_aggregate(&mut self, kind: Type, outer: &[Column]) -> String {
        self.budget = self.budget.saturating_sub(1);
        self.uses(Construct::NoGroups);
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let (aggregate, wheres) = (self.aggregate(kind, &own), self.wheres(&scope));
        format!("SELECT {aggregate} AS c0 FROM {from}{wheres}")
    }

    pub(super) fn aggregate(&mut self, kind: Type, own: &[Column]) -> String {
        let filter = match self.one_in(5) {
            true => {
                self.uses(Construct::Filtered);
                format!(" FILTER (WHERE {})", self.plain_condition(own))
            }
            false => String::new(),
        };
        match kind {
            Type::Number => self.number_aggregate(own, &filter),
            Type::Text => self.text_aggregate(own, &filter),
            Type::Truth => {
                let (construct, function) = self.one_of(&[(Construct::BoolAnd, "bool_and"), (Construct::BoolOr, "bool_or")]);
                self.uses(construct);
                format!("{function}({}){filter}", self.plain_condition(own))
            }
            Type::Float => self.float_aggregate(own, &filter),
            Type::Numeric => self.numeric_aggregate(own, &filter),
            Type::Time => self.extreme(Type::Time, own, &filter),
            Type::List => {
                self.uses(Construct::ArrayAgg);
                let (number, order) = (self.argument(Type::Number, own), self.one_of(&["", " DESC"]));
                format!("array_agg({number} ORDER BY {number}{order}){filter}")
            }
        }
    }

    /// A column, or now and then an expression of columns and subqueries.
    fn argument(&mut self, kind: Type, own: &[Column]) -> String {
        match self.one_in(6) && own.iter().any(|column| column.kind == kind) {
            true => self.at(Construct::SubqueryInAggregate, |this| this.expression(kind, own, 1)),
            false => self.operand(kind, own),
        }
    }

    fn number_aggregate(&mut self, own: &[Column], filter: &str) -> String {
        use Construct::{BitAggregate, Count, CountDistinct, CountRows, Sum, SumDistinct};
        let construct = self.one_of(&[CountRows, CountRows, Count, CountDistinct, Sum, Sum, SumDistinct, BitAggregate, Construct::Min]);
        if construct == Construct::Min {
            return self.extreme(Type::Number, own, filter);
        }
        self.uses(construct);
        let kind = Type::any(self.rng);
        match construct {
            CountRows => format!("count(*){filter}"),
            Count => format!("count({}){filter}", self.argument(kind, own)),
            CountDistinct => format!("count(DISTINCT {}){filter}", self.argument(kind, own)),
            Sum => format!("(sum({}){filter})::bigint", self.argument(Type::Number, own)),
            SumDistinct => format!("(sum(DISTINCT {}){filter})::bigint", self.argument(Type::Number, own)),
            _ => format!("{}({}){filter}", self.one_of(&["bit_and", "bit_or", "bit_xor"]), self.argument(Type::Number, own)),
        }
    }

    fn text_aggregate(&mut self, own: &[Column], filter: &str) -> String {
        let mut text = self.argument(Type::Text, own);
        if text.starts_with('\'') {
            // To PostgreSQL a literal without a type is another one as an argument than as a sort key.
            text.push_str("::text");
        }
        match self.rng.random_range(0..4) {
            0 => {
                self.uses(Construct::StringAgg);
                format!("string_agg({text}, ',' ORDER BY {text}{}){filter}", self.one_of(&["", " DESC"]))
            }
            1 => {
                self.uses(Construct::StringAggDistinct);
                format!("string_agg(DISTINCT {text}, ',' ORDER BY {text}){filter}")
            }
            _ => self.extreme(Type::Text, own, filter),
        }
    }

    fn float_aggregate(&mut self, own: &[Column], filter: &str) -> String {
        use Construct::{AvgFloat, Median, Percentile, SumFloat, Variance};
        let construct = self.one_of(&[SumFloat, SumFloat, AvgFloat, Variance, Variance, Median, Percentile, Construct::Min]);
        if construct == Construct::Min {
            return self.extreme(Type::Float, own, filter);
        }
        // Others add floats one after another.
        self.uses_beyond_postgres(construct);
        let argument = self.argument(Type::Float, own);
        match construct {
            SumFloat => format!("(sum({}){filter} + 0.0)", raw(&argument)),
            AvgFloat => format!("(avg({}){filter} + 0.0)", raw(&argument)),
            Variance => {
                let function = self.one_of(&["var_pop", "var_samp", "stddev_pop", "stddev_samp"]);
                // No numbers whose squares are out of range; NaN is behind all of them.
                let value = self.operand(Type::Float, own);
                let bounded = format!("CASE WHEN abs({value}) < 1e150 OR abs({value}) > 1.7e308 THEN {value} END");
                format!("({function}({bounded}){filter} + 0.0)")
            }
            Median => format!("(median({argument}){filter} + 0.0)"),
            _ => format!("(percentile_cont(0.25) WITHIN GROUP (ORDER BY {argument}){filter} + 0.0)"),
        }
    }

    fn numeric_aggregate(&mut self, own: &[Column], filter: &str) -> String {
        match self.rng.random_range(0..4) {
            0 => {
                self.uses(Construct::Avg);
                let kind = self.one_of(&[Type::Number, Type::Numeric]);
                format!("(avg({}){filter})::numeric(12,2)", self.argument(kind, own))
            }
            1 | 2 => {
                self.uses(Construct::SumNumeric);
                format!("(sum({}){filter})::numeric(12,2)", self.argument(Type::Numeric, own))
            }
            _ => self.extreme(Type::Numeric, own, filter),
        }
    }

    fn extreme(&mut self, kind: Type, own: &[Column], filter: &str) -> String {
        let (construct, function) = self.one_of(&[(Construct::Min, "min"), (Construct::Max, "max")]);
        self.uses(construct);
        format!("{function}({}){filter}", self.argument(kind, own))
    }

    /// A condition without a subquery.
    pub(super) fn plain_condition(&mut self, scope: &[Column]) -> String {
        let kind = self.one_of(&[Type::Number, Type::Number, Type::Text, Type::Float]);
        let operand = self.operand(kind, scope);
        format!("{} {} {}", raw(&operand), self.one_of(&["<", ">=", "<>", "<>"]), kind.literal(self.rng))
    }

    pub(super) fn grouping_sets(&mut self) -> (String, Vec<Type>) {
        let (from, own) = self.from(&[]);
        let place = self.rng.random_range(0..own.len());
        let (first, second) = (&own[place], &own[(place + 1) % own.len()]);
        let construct = match own.len() {
            1 => Construct::Rollup,
            _ => self.one_of(&[Construct::Rollup, Construct::Cube, Construct::GroupingSets]),
        };
        self.uses(construct);
        let groups = match construct {
            Construct::Rollup if own.len() == 1 => format!("ROLLUP ({})", first.sql),
            Construct::Rollup => format!("ROLLUP ({}, {})", first.sql, second.sql),
            Construct::Cube => format!("CUBE ({}, {})", first.sql, second.sql),
            _ => format!("GROUPING SETS (({}), ({}), ())", first.sql, second.sql),
        };
        let kind = Type::any(self.rng);
        let (aggregate, wheres) = (self.aggregate(kind, &own), self.wheres(&own));
        let list = format!("{} AS c0, {} AS c1, {aggregate} AS c2", first.sql, second.sql);
        (format!("SELECT {list} FROM {from}{wheres} GROUP BY {groups}"), vec![first.kind, second.kind, kind])
    }
}
