//! What a run must reach, and how often it did: the operators that keep views current, and the constructs of SQL that the
//! generator has. Both lists are written down here, so that what is never reached is seen to be missing.
//!
//! Counted are comparisons of a view with its query. One *takes rows* of an operator if that operator of the view has taken in
//! rows since the view's last comparison, and *retractions* if some of them took rows away. A construct's comparisons are those
//! of the views that have it; they have retractions if its operators took some, or for one without an operator of its own, if
//! any operator of the view did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The operators that take in rows, as [`operator_name`] has them.
pub const OPERATORS: &[&str] = &[
    "Scan",
    "Filter",
    "Project",
    "Union",
    "Unnest",
    "Distinct",
    "Aggregate",
    "Join inner",
    "Join left",
    "Join right",
    "Join full",
    "Join semi",
    "Join anti",
    "Join mark",
    "TopN",
    "Over",
    "Recursion",
    "Rows of the round before",
    "Input of the recursion",
    "Clock",
    "Temporal",
    "Recompute",
];

/// Operators that take in none.
pub const WITHOUT_INPUT: &[&str] = &["Constant"];

/// Defines [`Construct`] from its table: the variant, its name in reports, and the operators that may stand for it.
macro_rules! constructs {
    ($($variant:ident $name:literal [$($operator:literal),*];)*) => {
        /// A construct of SQL that the generator has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Construct { $(#[doc = $name] $variant,)* }

        impl Construct {
            /// All there are.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// As reports name it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The operators of which one must have taken rows; none: any.
            fn operators(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($operator),*],)* }
            }
        }
    };
}

constructs! {
    JoinInner "join/inner" ["Join inner"];
    JoinLeft "join/left" ["Join"];
    JoinRight "join/right" ["Join"];
    JoinFull "join/full" ["Join"];
    JoinCross "join/cross" ["Join inner"];
    JoinUsing "join/using" ["Join"];
    JoinNatural "join/natural" ["Join"];
    JoinSeveral "join/several" ["Join"];
    JoinUnequal "join/unequal" ["Join"];
    JoinResidual "join/equal-and-more" ["Join"];
    JoinNullSafe "join/nulls-equal" ["Join"];
    JoinFloat "join/float-key" ["Join"];
    Lateral "join/lateral" [];
    Values "from/values" [];
    Derived "from/subquery" [];
    Cte "from/with" [];
    ViewOnView "from/view" [];
    Stream "from/stream" [];
    Tumble "from/tumble" [];
    Hop "from/hop" [];
    Cumulate "from/cumulate" [];
    UnnestFrom "from/unnest" ["Unnest"];
    UnnestOrdinality "from/unnest-ordinality" ["Unnest"];
    UnnestList "select/unnest" ["Unnest", "Recompute"];
    UnnestSeveral "select/unnest-of-two-lists" ["Unnest", "Recompute"];
    UnnestTwice "select/unnest-twice-of-one-list" ["Unnest", "Recompute"];
    Series "select/generate_series" ["Unnest"];
    Union "set/union" ["Union", "Distinct"];
    UnionAll "set/union-all" ["Union"];
    Intersect "set/intersect" ["Join"];
    IntersectAll "set/intersect-all" [];
    Except "set/except" ["Join"];
    ExceptAll "set/except-all" [];
    Distinct "select/distinct" ["Distinct", "Aggregate", "Constant"];
    DistinctOn "select/distinct-on" ["TopN", "Aggregate"];
    Limit "select/limit" ["TopN"];
    Offset "select/offset" ["TopN"];
    FirstByRowNumber "select/first-by-row_number" ["TopN", "Over"];
    FirstByRank "select/first-by-rank" ["TopN", "Over"];
    RecursionUnion "recursion/union" ["Recursion", "Recompute"];
    RecursionUnionAll "recursion/union-all" ["Recursion", "Recompute"];
    RecursionAggregate "recursion/aggregate" ["Recompute", "Recursion"];
    GroupBy "group/by" ["Aggregate", "Distinct"];
    NoGroups "group/none" ["Aggregate"];
    GroupByExpression "group/by-expression" ["Aggregate", "Distinct"];
    GroupingSets "group/grouping-sets" ["Aggregate", "Distinct"];
    Rollup "group/rollup" ["Aggregate", "Distinct"];
    Cube "group/cube" ["Aggregate", "Distinct"];
    Having "group/having" ["Aggregate"];
    CountRows "aggregate/count-rows" ["Aggregate"];
    Count "aggregate/count" ["Aggregate"];
    CountDistinct "aggregate/count-distinct" ["Aggregate"];
    Sum "aggregate/sum" ["Aggregate"];
    SumDistinct "aggregate/sum-distinct" ["Aggregate"];
    SumNumeric "aggregate/sum-numeric" ["Aggregate"];
    SumFloat "aggregate/sum-float" ["Aggregate"];
    Avg "aggregate/avg" ["Aggregate"];
    AvgFloat "aggregate/avg-float" ["Aggregate"];
    Variance "aggregate/variance" ["Aggregate"];
    Min "aggregate/min" ["Aggregate"];
    Max "aggregate/max" ["Aggregate"];
    BoolAnd "aggregate/bool_and" ["Aggregate"];
    BoolOr "aggregate/bool_or" ["Aggregate"];
    BitAggregate "aggregate/bit" ["Aggregate"];
    ArrayAgg "aggregate/array_agg-ordered" ["Aggregate"];
    StringAgg "aggregate/string_agg-ordered" ["Aggregate"];
    StringAggDistinct "aggregate/string_agg-distinct" ["Aggregate"];
    Median "aggregate/median" ["Aggregate"];
    Percentile "aggregate/percentile" ["Aggregate"];
    Filtered "aggregate/filter" ["Aggregate"];
    RowNumber "over/row_number" ["Over", "TopN"];
    Rank "over/rank" ["Over", "TopN"];
    DenseRank "over/dense_rank" ["Over", "TopN"];
    PercentRank "over/percent_rank-cume_dist" ["Over"];
    Ntile "over/ntile" ["Over"];
    Lag "over/lag" ["Over"];
    Lead "over/lead" ["Over"];
    FirstValue "over/first_value" ["Over"];
    LastValue "over/last_value" ["Over"];
    NthValue "over/nth_value" ["Over"];
    OverRunning "over/running-aggregate" ["Over"];
    OverPartition "over/whole-partition" ["Over"];
    OverFloat "over/sum-float" ["Over"];
    OverFiltered "over/filter" ["Over"];
    OverCollected "over/lists-texts-truths" ["Over"];
    FrameBefore "over/rows-before" ["Over"];
    FrameAfter "over/rows-after" ["Over"];
    FrameAround "over/rows-around" ["Over"];
    FrameUnbounded "over/rows-unbounded" ["Over"];
    FrameRange "over/range-of-a-distance" ["Over"];
    FrameGroups "over/groups" ["Over"];
    OverAllRows "over/no-partition" ["Over"];
    SubqueryAggregate "subquery/scalar-aggregate" [];
    SubqueryFirstRow "subquery/scalar-limit" [];
    SubqueryArray "subquery/array" [];
    Exists "subquery/exists" [];
    NotExists "subquery/not-exists" [];
    In "subquery/in" [];
    NotIn "subquery/not-in" [];
    RowIn "subquery/row-in" [];
    Any "subquery/any" [];
    All "subquery/all" [];
    SubqueryInList "subquery-place/select-list" [];
    SubqueryInWhere "subquery-place/where" [];
    SubqueryInOn "subquery-place/on" [];
    SubqueryInHaving "subquery-place/having" [];
    SubqueryInAggregate "subquery-place/aggregate-argument" [];
    Clock "where/now" ["Temporal"];
    Correlated "subquery/correlated" [];
    Deep "subquery/three-deep" [];
    Case "expression/case" [];
    Coalesce "expression/coalesce-nullif" [];
    Cast "expression/cast" [];
    Between "expression/between" [];
    InList "expression/in-list" [];
    NullTest "expression/is-null" [];
    IsDistinctFrom "expression/is-distinct-from" [];
    Like "expression/like" [];
    Text "expression/text" [];
    Numeric "expression/numeric" [];
    Float "expression/float" [];
    Time "expression/timestamp" [];
    List "expression/array" [];
}

/// What some comparisons reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Comparisons.
    pub n: u64,
    /// In which rows were taken in.
    pub n_with_rows: u64,
    /// In which rows were taken away.
    pub n_with_retractions: u64,
}

/// What one view's operators have taken in since its last comparison, by the name of the operator: rows, and retractions.
pub(super) type Taken = BTreeMap<String, (u64, u64)>;

/// What a run reached.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    n_comparisons: u64,
    n_with_rows: u64,
    operators: BTreeMap<String, Count>,
    constructs: BTreeMap<Construct, Count>,
}

impl Reach {
    /// Counts a comparison of a view that has `constructs`.
    pub(super) fn compared(&mut self, has_rows: bool, constructs: &BTreeSet<Construct>, taken: &Taken) {
        self.n_comparisons += 1;
        self.n_with_rows += u64::from(has_rows);
        for (operator, rows) in taken.iter().filter(|(operator, _)| !WITHOUT_INPUT.contains(&operator.as_str())) {
            self.operators.entry(operator.clone()).or_default().add(*rows);
        }
        for construct in constructs {
            let own = construct.operators();
            let is_own = |operator: &str| own.is_empty() || own.iter().any(|own| operator.starts_with(own));
            let sum = taken.iter().filter(|(operator, _)| is_own(operator)).fold((0, 0), |sum, (_, rows)| (sum.0 + rows.0, sum.1 + rows.1));
            self.constructs.entry(*construct).or_default().add(sum);
        }
    }

    /// Comparisons of a view at an epoch.
    pub fn n_comparisons(&self) -> u64 {
        self.n_comparisons
    }

    /// Those in which the view had rows.
    pub fn n_with_rows(&self) -> u64 {
        self.n_with_rows
    }

    /// What must be reached, and how often it was: operators, then constructs.
    pub fn counts(&self) -> Vec<(&str, Count)> {
        let operators = OPERATORS.iter().map(|name| (*name, self.operators.get(*name).copied().unwrap_or_default()));
        let constructs = Construct::ALL.iter().map(|name| (name.name(), self.constructs.get(name).copied().unwrap_or_default()));
        operators.chain(constructs).collect()
    }

    /// Operators that were met but are not in the list of those that must be.
    pub fn unlisted(&self) -> Vec<&str> {
        self.operators.keys().map(String::as_str).filter(|name| !OPERATORS.contains(name)).collect()
    }

    /// One line for a run that goes on.
    pub fn line(&self) -> String {
        let share = 100 * self.n_with_rows / self.n_comparisons.max(1);
        let mut counts = self.counts();
        counts.sort_by_key(|(_, count)| count.n_with_retractions);
        let least: Vec<String> = counts.iter().take(4).map(|(name, count)| format!("{name} {}", count.n_with_retractions)).collect();
        format!("{} comparisons, {share} % with rows; least reached with retractions: {}", self.n_comparisons, least.join(", "))
    }

    /// The whole table, and what is missing.
    pub fn table(&self) -> String {
        let mut text = format!("{:<36}{:>12}{:>12}{:>18}\n", "", "comparisons", "with rows", "with retractions");
        for (name, Count { n, n_with_rows, n_with_retractions }) in self.counts() {
            writeln!(text, "{name:<36}{n:>12}{n_with_rows:>12}{n_with_retractions:>18}").expect("a text grows");
        }
        let never: Vec<&str> = self.counts().into_iter().filter(|(_, count)| count.n_with_retractions == 0).map(|(name, _)| name).collect();
        if !never.is_empty() {
            writeln!(text, "NEVER REACHED with retractions: {}", never.join(", ")).expect("a text grows");
        }
        if !self.unlisted().is_empty() {
            writeln!(text, "NOT IN THE LIST of operators: {}", self.unlisted().join(", ")).expect("a text grows");
        }
        text
    }
}

impl Count {
    fn add(&mut self, (n_rows, n_retractions): (u64, u64)) {
        self.n += 1;
        self.n_with_rows += u64::from(n_rows > 0);
        self.n_with_retractions += u64::from(n_retractions > 0);
    }
}

/// An operator's name in `thalweg.operators` without what differs from view to view.
pub fn operator_name(label: &str) -> String {
    match label.split(' ').next() {
        Some("Scan") => "Scan".into(),
        Some("Recompute") => "Recompute".into(),
        Some("Input") => "Input of the recursion".into(),
        _ => label.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_construct_needs_its_own_operator() {
        let mut reach = Reach::default();
        let taken = Taken::from([("Join left".into(), (2, 0)), ("Scan".into(), (3, 1))]);
        reach.compared(true, &BTreeSet::from([Construct::JoinLeft, Construct::Case]), &taken);
        let count = |name: &str| reach.counts().into_iter().find(|(other, _)| *other == name).expect("it is listed").1;
        assert_eq!(count("join/left"), Count { n: 1, n_with_rows: 1, n_with_retractions: 0 });
        assert_eq!(count("expression/case"), Count { n: 1, n_with_rows: 1, n_with_retractions: 1 });
        assert_eq!(count("Join left"), Count { n: 1, n_with_rows: 1, n_with_retractions: 0 });
        assert_eq!(count("Join full"), Count::default());
        assert!(reach.table().contains("NEVER REACHED with retractions: ") && reach.unlisted().is_empty());
    }
}
