//! On which worker an operator's output rows are, so that rows which are already where the next operator wants them are not
//! sent again.
//!
//! A placement lists column lists; of each is promised: every row is on the worker that owns the hash of these columns' values.
//! Both the insertion and the retraction of a row obey it, since both are made of the same values.

use datafusion::physical_expr::expressions::Column;

use super::graph::Route;
use crate::plan::{Join, JoinKind, Map, Node, Plan, UnnestColumn};

/// Where the output rows of an operator are. Without any list, nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placement(Vec<Vec<usize>>);

impl Placement {
    /// Of the output of `plan`, whose inputs are placed as `inputs` and arrive by `routes`.
    pub(super) fn of(plan: &Plan, inputs: &[&Self], routes: &[Route]) -> Self {
        let arrived: Vec<Self> = inputs.iter().zip(routes).map(|(input, route)| input.after(route)).collect();
        match &plan.node {
            Node::Map(map) => arrived[0].renamed(|column| mapped(map, column)),
            Node::Unnest(unnest) => arrived[0]
                .renamed(|column| unnest.output.iter().position(|from| matches!(from, UnnestColumn::Kept(kept) if *kept == column))),
            Node::Union(_) if arrived.windows(2).all(|pair| pair[0] == pair[1]) => arrived.into_iter().next().unwrap_or_default(),
            Node::Aggregate(aggregate) => arrived[0].renamed(|column| aggregate.keys.iter().position(|key| *key == column)),
            Node::Arrange(_) | Node::TopN(_) => arrived.into_iter().next().unwrap_or_default(),
            Node::Over(over) => {
                let n_kept = plan.schema.fields().len() - over.windows.len();
                arrived[0].renamed(|column| (column < n_kept).then_some(column))
            }
            Node::Temporal(_) => arrived[1].renamed(|column| (column < plan.schema.fields().len()).then_some(column)),
            Node::Join(join) => of_join(join, &arrived),
            Node::Scan { .. } | Node::Constant(_) | Node::Union(_) | Node::Recursion(_) | Node::Given(_) | Node::Recompute(_) => {
                Self::default()
            }
        }
    }

    /// True when rows that agree in `keys` are on one worker.
    pub(super) fn keeps_together(&self, keys: &[usize]) -> bool {
        self.0.iter().any(|columns| columns.iter().all(|column| keys.contains(column)))
    }

    /// True when each row is on the worker that owns the hash of `keys`.
    pub(super) fn is_by(&self, keys: &[usize]) -> bool {
        self.0.iter().any(|columns| columns == keys)
    }

    fn after(&self, route: &Route) -> Self {
        match route {
            Route::Local => self.clone(),
            Route::ByKey(columns) => Self(vec![columns.clone()]),
            Route::ToOne => Self::default(),
        }
    }

    /// With each column where `new` says it is; lists of which a column is lost promise nothing any more.
    fn renamed(&self, new: impl Fn(usize) -> Option<usize>) -> Self {
        Self(self.0.iter().filter_map(|columns| columns.iter().map(|column| new(*column)).collect()).collect())
    }
}

fn mapped(map: &Map, column: usize) -> Option<usize> {
    map.expressions.iter().position(|value| value.downcast_ref::<Column>().is_some_and(|value| value.index() == column))
}

/// Pairs have the keys of both sides; a row padded with nulls is where its own side's key is.
fn of_join(join: &Join, arrived: &[Placement]) -> Placement {
    let n_left = join.left.schema.fields().len();
    // What is looked up is where its relation has it: by the key.
    let arrived = |port: usize, keys: &Vec<usize>| if join.looks_up[port] { Placement(vec![keys.clone()]) } else { arrived[port].clone() };
    let left = arrived(0, &join.left_keys);
    let right = arrived(1, &join.right_keys).renamed(|column| Some(n_left + column));
    match join.kind {
        JoinKind::Inner => Placement([left.0, right.0].concat()),
        JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => left,
        JoinKind::Right => right,
        JoinKind::Full => Placement::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sent_only_where_they_are_not() {
        let placement = Placement(vec![vec![0], vec![3, 1]]);
        assert!(placement.keeps_together(&[0, 2]) && placement.keeps_together(&[1, 3]));
        assert!(!placement.keeps_together(&[1, 2]) && !placement.keeps_together(&[]) && !Placement::default().keeps_together(&[0]));
        assert!(placement.is_by(&[3, 1]) && !placement.is_by(&[1, 3]) && !placement.is_by(&[0, 2]));
    }

    #[test]
    fn a_lost_column_loses_the_promise() {
        let placement = Placement(vec![vec![0], vec![3, 1]]);
        assert_eq!(placement.renamed(|column| (column != 3).then_some(column + 5)), Placement(vec![vec![5]]));
        assert_eq!(placement.after(&Route::ToOne), Placement::default());
        assert_eq!(placement.after(&Route::ByKey(vec![2])), Placement(vec![vec![2]]));
    }

    #[test]
    fn a_join_keeps_what_its_kind_keeps() {
        let input = |columns: &str| {
            let schema = crate::operators::script::schema(columns);
            Plan { node: Node::Union(vec![]), schema, append_only: false }
        };
        let placed = |kind| {
            let (left_keys, right_keys) = (vec![0], vec![1]);
            let (left, right) = (input("a:int b:int c:int"), input("d:int e:int"));
            let join = Join { left, right, kind, left_keys, right_keys, nulls_equal: false, residual: None, looks_up: [false; 2] };
            of_join(&join, &[Placement(vec![vec![0]]), Placement(vec![vec![1]])]).0
        };
        assert_eq!(placed(JoinKind::Inner), [[0], [4]]);
        assert_eq!(placed(JoinKind::Left), [[0]]);
        assert_eq!(placed(JoinKind::LeftMark), [[0]]);
        assert_eq!(placed(JoinKind::Right), [[4]]);
        assert!(placed(JoinKind::Full).is_empty());
    }
}
