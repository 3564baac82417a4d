//! Walks through graphs whose edges come and go, against a model that goes through all rounds anew after each epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, binary, lit};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::RecursionKernel;
use crate::operators::script::{changes, check, consolidated, schema};
use crate::operators::{Kernel, Output};
use crate::plan::{Join, JoinKind, Map, Node, Plan, Recursion, with_round};

/// `SELECT s, d, 0 FROM edge UNION [ALL] SELECT src, d, hops [+ 1] FROM r JOIN edge ON dst = s [WHERE hops < …]`
#[derive(Clone, Copy, Debug)]
struct Walks {
    is_distinct: bool,
    /// Counts hops, up to this many.
    most_hops: Option<i64>,
}

const REACHABLE: Walks = Walks { is_distinct: true, most_hops: None };
const PARTS: Walks = Walks { is_distinct: false, most_hops: None };

fn rows() -> SchemaRef {
    schema("src:int dst:int hops:int")
}

fn edges() -> SchemaRef {
    schema("s:int d:int")
}

fn given(port: usize, schema: SchemaRef) -> Plan {
    Plan { node: Node::Given(port), schema, append_only: false }
}

impl Walks {
    fn kernel(self) -> RecursionKernel {
        let pair = schema("src:int dst:int hops:int $round:int s:int d:int");
        let column = |name| Arc::new(Column::new_with_schema(name, &pair).expect("the column is in the schema")) as Arc<dyn PhysicalExpr>;
        let with = |operator, value: i64| binary(column("hops"), operator, lit(value), &pair).expect("the types go together");
        let joined = Node::Join(Box::new(Join {
            left: given(0, with_round(&rows())),
            right: given(1, edges()),
            kind: JoinKind::Inner,
            left_keys: vec![1],
            right_keys: vec![0],
            nulls_equal: false,
            residual: None,
            looks_up: [false; 2],
        }));
        let hops = self.most_hops.map_or_else(|| column("hops"), |_| with(Operator::Plus, 1));
        let step = Node::Map(Map {
            input: Box::new(Plan { node: joined, schema: pair.clone(), append_only: false }),
            predicate: self.most_hops.map(|most| with(Operator::Lt, most)),
            expressions: vec![column("src"), column("d"), hops, column("$round")],
        });
        let recursion = Recursion {
            first: given(0, rows()),
            others: vec![given(0, edges())],
            step: Plan { node: step, schema: with_round(&rows()), append_only: false },
            is_distinct: self.is_distinct,
        };
        RecursionKernel::new(&recursion, rows(), &mut std::iter::repeat_with(Arc::default)).expect("the kernel is made")
    }

    /// All rows with their number, from the edges with theirs.
    fn model(self, edges: &BTreeMap<(i64, i64), i64>) -> BTreeMap<String, i64> {
        let mut known = BTreeSet::new();
        let mut distinct = |rows: BTreeMap<(i64, i64, i64), i64>| -> BTreeMap<(i64, i64, i64), i64> {
            match self.is_distinct {
                true => rows.into_keys().filter(|row| known.insert(*row)).map(|row| (row, 1)).collect(),
                false => rows,
            }
        };
        let mut round = distinct(edges.iter().map(|((s, d), n)| ((*s, *d, 0), *n)).collect());
        let mut all = BTreeMap::new();
        while !round.is_empty() {
            let mut next: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
            for ((src, dst, hops), n) in round {
                *all.entry(format!("{src} {dst} {hops}")).or_insert(0) += n;
                if self.most_hops.is_none_or(|most| hops < most) {
                    for ((_, d), m) in edges.range((dst, i64::MIN)..=(dst, i64::MAX)) {
                        *next.entry((src, *d, hops + i64::from(self.most_hops.is_some()))).or_default() += n * m;
                    }
                }
            }
            round = distinct(next);
        }
        all
    }
}

/// The kernel's result after some steps.
#[derive(Default)]
struct Run {
    result: BTreeMap<String, i64>,
    n_state_rows_read: u64,
}

impl Run {
    /// Changes edges, each `weight s d`.
    fn step(&mut self, kernel: &mut RecursionKernel, epoch: u64, edges_text: &[String]) -> crate::Result<()> {
        let first: Vec<String> = edges_text.iter().map(|edge| format!("{edge} 0")).collect();
        let inputs = vec![vec![changes(&rows(), &first.join(" | "))], vec![changes(&edges(), &edges_text.join(" | "))]];
        let mut out = Output::default();
        kernel.step(epoch, inputs, &mut out)?;
        for (row, weight) in consolidated(&out.changes) {
            *self.result.entry(row).or_default() += weight;
        }
        self.result.retain(|_, weight| *weight != 0);
        self.n_state_rows_read = out.n_state_rows_read + kernel.n_state_rows_read_by_step();
        Ok(())
    }
}

fn compare_with_model(walks: Walks, is_acyclic: bool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut kernel, mut run) = (walks.kernel(), Run::default());
    let mut known: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let n_nodes = [4, 7, 12][random.random_range(0..3)];
    for epoch in 0..60 {
        let mut text = Vec::new();
        let n_changes = if epoch % 20 == 19 { usize::MAX } else { random.random_range(1..6) };
        let kept: Vec<(i64, i64)> = known.keys().copied().collect();
        for change in 0..n_changes.min(kept.len().max(6)) {
            let (s, d) = (random.random_range(0..n_nodes), random.random_range(0..n_nodes));
            let (s, d) = if is_acyclic { (s.min(d), s.max(d) + 1) } else { (s, d) };
            // Every twentieth epoch takes away all that is there.
            let ((s, d), weight) = match (n_changes == usize::MAX, kept.get(change)) {
                (true, Some(edge)) => (*edge, -known[edge]),
                (true, None) => break,
                (false, Some(edge)) if random.random_range(0..2) == 0 => (*edge, -known[edge].min(1)),
                _ => ((s, d), random.random_range(1..=2)),
            };
            text.push(format!("{weight:+} {s} {d}"));
            *known.entry((s, d)).or_default() += weight;
        }
        known.retain(|_, n| *n != 0);
        run.step(&mut kernel, epoch, &text).expect("the step succeeds");
        assert_eq!(run.result, walks.model(&known), "{walks:?} seed {seed} epoch {epoch}: {}", text.join(" | "));
    }
    if known.is_empty() && walks.is_distinct {
        assert_eq!(kernel.state_size().n_rows, 0, "{walks:?} seed {seed}: nothing is left of what has gone");
    }
}

#[test]
fn random_graphs_are_walked_as_round_by_round() {
    for seed in 0..40 {
        compare_with_model(REACHABLE, false, seed);
        compare_with_model(REACHABLE, true, seed);
        compare_with_model(PARTS, true, seed);
        compare_with_model(Walks { is_distinct: true, most_hops: Some(5) }, false, seed);
        compare_with_model(Walks { is_distinct: false, most_hops: Some(3) }, false, seed);
    }
}

#[test]
fn a_cycle_that_is_broken_leaves_nothing_that_held_itself() {
    let ports = [("first", rows()), ("edge", edges())];
    check(
        &mut REACHABLE.kernel(),
        &ports,
        "first: 1: + 1 2 0 | + 2 1 0
         edge: 1: + 1 2 | + 2 1
         first: 2: - 1 2 0 | - 2 1 0
         first: 3: + 1 2 0
         edge: 4: - 2 1",
        "1: + 1 1 0 | + 1 2 0 | + 2 1 0 | + 2 2 0
         2: - 1 1 0 | - 1 2 0 | - 2 1 0 | - 2 2 0
         3: + 1 1 0 | + 1 2 0
         4: - 1 1 0",
    );
}

/// Many chains of ten edges beside each other.
fn chains(n_chains: i64) -> Vec<String> {
    (0..n_chains).flat_map(|chain| (0..10).map(move |edge| format!("+ {} {}", chain * 100 + edge, chain * 100 + edge + 1))).collect()
}

#[test]
fn what_an_edge_costs_does_not_grow_with_the_graph() {
    for walks in [REACHABLE, PARTS] {
        let read = [20, 200, 2000].map(|n_chains| {
            let (mut kernel, mut run) = (walks.kernel(), Run::default());
            run.step(&mut kernel, 1, &chains(n_chains)).expect("the step succeeds");
            assert_eq!(run.result.len() as i64, n_chains * 55);
            let before = kernel.n_state_rows_read_by_step();
            run.step(&mut kernel, 2, &["- 1005 1006".to_string()]).expect("the step succeeds");
            assert_eq!(run.result.len() as i64, n_chains * 55 - 30);
            run.n_state_rows_read - before
        });
        // A walk over the edge that is gone is looked at where it is made, and for the way on.
        assert!(read.iter().all(|read| *read > 0 && *read <= 150), "{walks:?}: {read:?}");
        assert_eq!(read[0], read[2], "{walks:?}: {read:?}");
    }
}

#[test]
fn a_recursion_without_an_end_fails() {
    let ring: Vec<String> = (0..10).map(|node| format!("+ {node} {}", (node + 1) % 10)).collect();
    let mut kernel = PARTS.kernel();
    kernel.max_rounds = 1000;
    let error = Run::default().step(&mut kernel, 1, &ring).expect_err("it has no end");
    assert_eq!((error.sqlstate, error.detail.as_deref()), ("54000", Some("It has not ended after 1000 rounds.")));
    let twice: Vec<String> = ring.iter().map(|edge| edge.replace('+', "+2")).collect();
    let error = Run::default().step(&mut PARTS.kernel(), 1, &twice).expect_err("its rows double");
    assert_eq!(error.sqlstate, "54000");
    assert!(error.detail.is_some_and(|detail| detail.contains("more than 8388608 of its rows")));
    let mut kernel = REACHABLE.kernel();
    kernel.max_rounds = 10;
    Run::default().step(&mut kernel, 1, &ring).expect("each row is there once");
}
