//! TPC-H: its eight tables, their rows in a random order, and its 22 queries.
//!
//! The texts in `bench/queries/tpch/` are the standard's with its validation parameters; q15 is its variant with `WITH` in
//! place of a view. Rows are those of the standard's generator, made by the crate `tpchgen`.

use std::fmt::Display;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

/// Name and text of each query, in order.
pub const QUERIES: &[(&str, &str)] = &[
    ("q1", include_str!("../queries/tpch/q1.sql")),
    ("q2", include_str!("../queries/tpch/q2.sql")),
    ("q3", include_str!("../queries/tpch/q3.sql")),
    ("q4", include_str!("../queries/tpch/q4.sql")),
    ("q5", include_str!("../queries/tpch/q5.sql")),
    ("q6", include_str!("../queries/tpch/q6.sql")),
    ("q7", include_str!("../queries/tpch/q7.sql")),
    ("q8", include_str!("../queries/tpch/q8.sql")),
    ("q9", include_str!("../queries/tpch/q9.sql")),
    ("q10", include_str!("../queries/tpch/q10.sql")),
    ("q11", include_str!("../queries/tpch/q11.sql")),
    ("q12", include_str!("../queries/tpch/q12.sql")),
    ("q13", include_str!("../queries/tpch/q13.sql")),
    ("q14", include_str!("../queries/tpch/q14.sql")),
    ("q15", include_str!("../queries/tpch/q15.sql")),
    ("q16", include_str!("../queries/tpch/q16.sql")),
    ("q17", include_str!("../queries/tpch/q17.sql")),
    ("q18", include_str!("../queries/tpch/q18.sql")),
    ("q19", include_str!("../queries/tpch/q19.sql")),
    ("q20", include_str!("../queries/tpch/q20.sql")),
    ("q21", include_str!("../queries/tpch/q21.sql")),
    ("q22", include_str!("../queries/tpch/q22.sql")),
];

/// Name and columns of each table.
pub const TABLES: &[(&str, &str)] = &[
    ("region", "r_regionkey int PRIMARY KEY, r_name char(25), r_comment varchar(152)"),
    ("nation", "n_nationkey int PRIMARY KEY, n_name char(25), n_regionkey int, n_comment varchar(152)"),
    (
        "part",
        "p_partkey int PRIMARY KEY, p_name varchar(55), p_mfgr char(25), p_brand char(10), p_type varchar(25), p_size int, \
         p_container char(10), p_retailprice decimal(15,2), p_comment varchar(23)",
    ),
    (
        "supplier",
        "s_suppkey int PRIMARY KEY, s_name char(25), s_address varchar(40), s_nationkey int, s_phone char(15), \
         s_acctbal decimal(15,2), s_comment varchar(101)",
    ),
    (
        "partsupp",
        "ps_partkey int, ps_suppkey int, ps_availqty int, ps_supplycost decimal(15,2), ps_comment varchar(199), \
         PRIMARY KEY (ps_partkey, ps_suppkey)",
    ),
    (
        "customer",
        "c_custkey int PRIMARY KEY, c_name varchar(25), c_address varchar(40), c_nationkey int, c_phone char(15), \
         c_acctbal decimal(15,2), c_mktsegment char(10), c_comment varchar(117)",
    ),
    (
        "orders",
        "o_orderkey bigint PRIMARY KEY, o_custkey int, o_orderstatus char(1), o_totalprice decimal(15,2), o_orderdate date, \
         o_orderpriority char(15), o_clerk char(15), o_shippriority int, o_comment varchar(79)",
    ),
    (
        "lineitem",
        "l_orderkey bigint, l_partkey int, l_suppkey int, l_linenumber int, l_quantity decimal(15,2), l_extendedprice decimal(15,2), \
         l_discount decimal(15,2), l_tax decimal(15,2), l_returnflag char(1), l_linestatus char(1), l_shipdate date, l_commitdate date, \
         l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44), \
         PRIMARY KEY (l_orderkey, l_linenumber)",
    ),
];

/// A row of a table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which of [`TABLES`].
    pub table: usize,
    /// Its columns as COPY's text format has them, separated by `|`.
    pub line: String,
}

/// The rows of all tables at a scale factor (1 is 6 million lines of orders), in an order that the seed decides.
pub fn rows(scale_factor: f64, seed: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    take(&mut rows, 0, RegionGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 1, NationGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 2, PartGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 3, SupplierGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 4, PartSuppGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 5, CustomerGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 6, OrderGenerator::new(scale_factor, 1, 1).iter());
    take(&mut rows, 7, LineItemGenerator::new(scale_factor, 1, 1).iter());
    rows.shuffle(&mut StdRng::seed_from_u64(seed));
    rows
}

fn take(rows: &mut Vec<Row>, table: usize, generated: impl Iterator<Item = impl Display>) {
    rows.extend(generated.map(|row| {
        let line = row.to_string();
        let line = line.strip_suffix('|').expect("the generator ends each column with a bar").to_owned();
        Row { table, line }
    }));
}
