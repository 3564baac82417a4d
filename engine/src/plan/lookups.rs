//! Joins that keep no copy of a relation which is kept by their very keys: a table by its primary key, a view by the columns it is
//! grouped by, any relation by the columns of an index on it. They look its rows up there, as of the epoch they are at; so do all
//! other views that join on these keys.
//!
//! Only a side of which the join need not know which rows have a match: both of an inner join, the right of a left one.

use catalog::ObjectId;

use super::{Join, JoinKind, Node, Plan};

/// Where the rows of a relation are kept, and by which of its columns they are found there and spread over workers: in the
/// relation itself and in the indexes on it, that which is preferred first.
pub type KeptBy = Vec<(ObjectId, Vec<usize>)>;

/// Marks the sides that are looked up, and points their scans to where they are. Joins inside of a recursion's step keep their rows.
pub fn look_up(plan: &mut Plan, kept_by: &dyn Fn(ObjectId) -> KeptBy) {
    plan.inputs_mut().into_iter().for_each(|input| look_up(input, kept_by));
    if let Node::Join(join) = &mut plan.node {
        join.look_up(kept_by);
    }
}

/// One way to look a side up.
struct Way {
    /// Where.
    relation: ObjectId,
    /// For each column by which the rows are found there, its place among the join's keys.
    order: Vec<usize>,
}

impl Join {
    fn look_up(&mut self, kept_by: &dyn Fn(ObjectId) -> KeptBy) {
        let (may_left, may_right) = match self.kind {
            JoinKind::Inner => (true, true),
            JoinKind::Left => (false, true),
            JoinKind::Right => (true, false),
            JoinKind::Full | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => (false, false),
        };
        let ways = |may: bool, side: &Plan, keys: &[usize]| if may { ways(side, keys, kept_by) } else { Vec::new() };
        let (mut left, mut right) = (ways(may_left, &self.left, &self.left_keys), ways(may_right, &self.right, &self.right_keys));
        // The keys take the order in which the rows are kept: both sides can be looked up if they are kept in the same.
        let in_one_order =
            right.iter().enumerate().find_map(|(place, way)| Some((left.iter().position(|other| other.order == way.order)?, place)));
        let (left, right) = match in_one_order {
            Some((of_left, of_right)) => (Some(left.swap_remove(of_left)), Some(right.swap_remove(of_right))),
            None if right.is_empty() => (left.into_iter().next(), None),
            None => (None, right.into_iter().next()),
        };
        self.looks_up = [left.is_some(), right.is_some()];
        for (side, way) in [(&mut self.left, &left), (&mut self.right, &right)] {
            if let (Node::Scan { relation, .. }, Some(way)) = (&mut side.node, way) {
                *relation = way.relation;
            }
        }
        if let Some(Way { order, .. }) = right.or(left) {
            for keys in [&mut self.left_keys, &mut self.right_keys] {
                *keys = order.iter().map(|place| keys[*place]).collect();
            }
        }
    }
}

/// How the rows of `side` with given `keys` can be looked up; not at all where it is no relation, or kept by other columns.
fn ways(side: &Plan, keys: &[usize], kept_by: &dyn Fn(ObjectId) -> KeptBy) -> Vec<Way> {
    let Node::Scan { relation, columns } = &side.node else { return Vec::new() };
    let place = |column: &usize| keys.iter().position(|key| columns[*key] == *column);
    let way = |(relation, kept_by): (ObjectId, Vec<usize>)| {
        let is_by_all = !kept_by.is_empty() && kept_by.len() == keys.len();
        Some(Way { relation, order: kept_by.iter().map(place).collect::<Option<_>>().filter(|_| is_by_all)? })
    };
    kept_by(*relation).into_iter().filter_map(way).collect()
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
        look_up(&mut plan, &|relation| vec![(relation, if relation == ObjectId(1) { left.to_vec() } else { right.to_vec() })]);
        let Node::Join(join) = plan.node else { panic!("it is a join") };
        (join.looks_up, join.left_keys, join.right_keys)
    }

    /// The relations scanned for the left and for the right, kept in `1` and `2` or by these columns in the other relations.
    fn looked_up_in(mut plan: Plan, left: &[(u32, &[usize])], right: &[(u32, &[usize])]) -> (ObjectId, ObjectId, [bool; 2]) {
        let kept_by = |ways: &[(u32, &[usize])]| ways.iter().map(|(relation, by)| (ObjectId(*relation), by.to_vec())).collect();
        look_up(&mut plan, &|relation| kept_by(if relation == ObjectId(1) { left } else { right }));
        let Node::Join(join) = plan.node else { panic!("it is a join") };
        let [left, right] = [&join.left, &join.right].map(|side| side.relations()[0]);
        (left, right, join.looks_up)
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
    fn indexes_are_scanned_where_they_serve() {
        let by_one = || join(JoinKind::Inner, [0, 1, 2], [3, 2, 1], &[0], &[1]);
        let (first, second) = (ObjectId(1), ObjectId(2));
        assert_eq!(looked_up_in(by_one(), &[(1, &[9])], &[(2, &[3]), (7, &[2])]), (first, ObjectId(7), [false, true]));
        assert_eq!(
            looked_up_in(by_one(), &[(1, &[0]), (8, &[0])], &[(2, &[2]), (7, &[2])]),
            (first, second, [true, true]),
            "its own key first"
        );
        let by_two = || join(JoinKind::Inner, [0, 1, 2], [3, 2, 1], &[0, 2], &[1, 0]);
        let right: [(u32, &[usize]); 2] = [(7, &[2, 3]), (8, &[3, 2])];
        assert_eq!(
            looked_up_in(by_two(), &[(1, &[2, 0])], &right),
            (first, ObjectId(8), [true, true]),
            "that in the order of the other side"
        );
        assert_eq!(looked_up_in(by_two(), &[(1, &[5])], &right), (first, ObjectId(7), [false, true]));
        let full = join(JoinKind::Full, [0, 1, 2], [3, 2, 1], &[0], &[1]);
        assert_eq!(looked_up_in(full, &[], &[(7, &[2])]), (first, second, [false; 2]));
    }

    #[test]
    fn a_column_named_twice_is_not_two_of_a_key() {
        let plan = join(JoinKind::Inner, [0, 1, 2], [3, 2, 1], &[0, 1], &[0, 0]);
        assert_eq!(looked_up(plan, &[9, 8], &[3, 2]).0, [false; 2]);
    }
}
