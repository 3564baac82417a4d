//! Joins that keep no copy of a relation which is kept by their very keys: a table by its primary key, a view by the columns it is
//! grouped by. They look its rows up there, as of the epoch they are at; so do all other views that join on these keys.
//!
//! Only a side of which the join need not know which rows have a match: both of an inner join, the right of a left one.

use catalog::ObjectId;

use super::{Join, JoinKind, Node, Plan};

/// Marks the sides that are looked up. `key_of` tells by which columns a relation's rows are kept, and spread over workers. Joins
/// inside of a recursion's step keep their rows.
pub fn look_up(plan: &mut Plan, key_of: &dyn Fn(ObjectId) -> Option<Vec<usize>>) {
    plan.inputs_mut().into_iter().for_each(|input| look_up(input, key_of));
    if let Node::Join(join) = &mut plan.node {
        join.look_up(key_of);
    }
}

impl Join {
    fn look_up(&mut self, key_of: &dyn Fn(ObjectId) -> Option<Vec<usize>>) {
        let (may_left, may_right) = match self.kind {
            JoinKind::Inner => (true, true),
            JoinKind::Left => (false, true),
            JoinKind::Right => (true, false),
            JoinKind::Full | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => (false, false),
        };
        let order = |side: &Plan, keys: &[usize]| order_of(side, keys, key_of);
        // The keys take the order in which one side's relation has them. The other's can be looked up if it has them in the same.
        let of_right = order(&self.right, &self.right_keys).filter(|_| may_right);
        let of_left = order(&self.left, &self.left_keys).filter(|_| may_left);
        self.looks_up = match (&of_left, &of_right) {
            (left, Some(right)) => [left.as_ref() == Some(right), true],
            (left, None) => [left.is_some(), false],
        };
        if let Some(order) = of_right.or(of_left) {
            for keys in [&mut self.left_keys, &mut self.right_keys] {
                *keys = order.iter().map(|place| keys[*place]).collect();
            }
        }
    }
}

/// For each column of the key that the relation scanned by `side` is kept by, its place among `keys`; `None` where these are not the
/// same columns.
fn order_of(side: &Plan, keys: &[usize], key_of: &dyn Fn(ObjectId) -> Option<Vec<usize>>) -> Option<Vec<usize>> {
    let Node::Scan { relation, columns } = &side.node else { return None };
    let key = key_of(*relation).filter(|key| !key.is_empty() && key.len() == keys.len())?;
    key.iter().map(|column| keys.iter().position(|key| columns[*key] == *column)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// `left` and `right` are relations 1 and 2 of four columns, scanned in this order of them.
    fn join(kind: JoinKind, left: [usize; 3], right: [usize; 3], left_keys: &[usize], right_keys: &[usize]) -> Plan {
        let fields =
            |n: usize| Arc::new(Schema::new((0..n).map(|n| Field::new(format!("c{n}"), DataType::Int64, true)).collect::<Vec<_>>()));
        let scan = |relation, columns: [usize; 3]| Plan {
            node: Node::Scan { relation: ObjectId(relation), columns: columns.to_vec() },
            schema: fields(3),
            append_only: false,
        };
        let join = Join {
            left: scan(1, left),
            right: scan(2, right),
            kind,
            left_keys: left_keys.to_vec(),
            right_keys: right_keys.to_vec(),
            nulls_equal: false,
            residual: None,
            looks_up: [false; 2],
        };
        Plan { node: Node::Join(Box::new(join)), schema: fields(6), append_only: false }
    }

    fn looked_up(mut plan: Plan, left: &[usize], right: &[usize]) -> ([bool; 2], Vec<usize>, Vec<usize>) {
        look_up(&mut plan, &|relation| Some(if relation == ObjectId(1) { left.to_vec() } else { right.to_vec() }));
        let Node::Join(join) = plan.node else { panic!("it is a join") };
        (join.looks_up, join.left_keys, join.right_keys)
    }

    #[test]
    fn a_side_that_is_kept_by_the_keys_is_looked_up() {
        use JoinKind::{Full, Inner, Left, LeftAnti, Right};
        let by_key = |kind| looked_up(join(kind, [3, 1, 0], [2, 1, 3], &[1], &[0]), &[1], &[2]).0;
        assert_eq!([Inner, Left, Right, Full, LeftAnti].map(by_key), [[true, true], [false, true], [true, false], [false; 2], [false; 2]]);
        let of_other_columns = looked_up(join(Inner, [3, 1, 0], [2, 1, 3], &[1], &[0]), &[3], &[2, 1]);
        assert_eq!(of_other_columns, ([false; 2], vec![1], vec![0]), "by another column, and by more of them");
    }

    #[test]
    fn keys_take_the_order_of_the_relation() {
        let plan = || join(JoinKind::Inner, [0, 1, 2], [3, 2, 1], &[0, 2], &[1, 0]);
        assert_eq!(looked_up(plan(), &[9, 8], &[3, 2]), ([false, true], vec![2, 0], vec![0, 1]));
        assert_eq!(looked_up(plan(), &[2, 0], &[3, 2]), ([true, true], vec![2, 0], vec![0, 1]));
        assert_eq!(looked_up(plan(), &[0, 2], &[3, 2]), ([false, true], vec![2, 0], vec![0, 1]), "in another order");
        assert_eq!(looked_up(plan(), &[2, 0], &[3]), ([true, false], vec![2, 0], vec![0, 1]));
    }

    #[test]
    fn a_column_named_twice_is_not_two_of_a_key() {
        let plan = join(JoinKind::Inner, [0, 1, 2], [3, 2, 1], &[0, 1], &[0, 0]);
        assert_eq!(looked_up(plan, &[9, 8], &[3, 2]).0, [false; 2]);
    }
}
