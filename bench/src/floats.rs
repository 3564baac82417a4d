//! What exact sums of doubles cost: the same batch query with DataFusion's own functions, which round at each addition, and with
//! ours, which round once.

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use engine::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::measure::Clock;

/// Rows of a batch, DataFusion's own number.
const BATCH_ROWS: u64 = 8192;
/// Runs of each query, of which the cheapest counts.
const N_RUNS: usize = 3;
const SEED: u64 = 754;

/// The functions whose sums are exact, as SQL.
const FUNCTIONS: [&str; 3] = ["sum(f)", "avg(f)", "var_samp(f)"];

/// How far apart the numbers are.
#[derive(Debug, Clone, Copy)]
enum Spread {
    /// Amounts of cents up to a thousand.
    Amounts,
    /// Any magnitude a double has.
    Wide,
}

/// Measures, and calls `say` with each row of the table.
pub async fn run(n_rows: u64, say: &dyn Fn(&str)) -> Result<()> {
    say("| function | numbers | groups | DataFusion's, CPU s | exact, CPU s | exact ÷ DataFusion's |");
    say("|---|---|---:|---:|---:|---:|");
    for (spread, name) in [(Spread::Amounts, "amounts to 1,000.00"), (Spread::Wide, "any magnitude")] {
        for n_groups in [1, 1000, n_rows / 10] {
            let rows = rows(spread, n_rows, n_groups.max(1))?;
            for function in FUNCTIONS {
                let query = format!("SELECT g, {function} FROM t GROUP BY g");
                let (own, exact) = (cpu_s(&rows, &query, false).await?, cpu_s(&rows, &query, true).await?);
                say(&format!("| {function} | {name} | {n_groups} | {own:.2} | {exact:.2} | {:.2} |", exact / own));
            }
        }
    }
    Ok(())
}

/// Seconds of processor time of the query in batch.
async fn cpu_s(rows: &[RecordBatch], query: &str, is_exact: bool) -> Result<f64> {
    let mut context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    if is_exact {
        engine::functions::register(&mut context)?;
    }
    let table = MemTable::try_new(schema(), vec![rows.to_vec()])?;
    context.register_table("t", Arc::new(table))?;
    let mut least = f64::INFINITY;
    for _ in 0..N_RUNS {
        let clock = Clock::start()?;
        context.sql(query).await?.collect().await?;
        least = least.min(clock.stop(0)?.cpu_s);
    }
    Ok(least)
}

fn rows(spread: Spread, n_rows: u64, n_groups: u64) -> Result<Vec<RecordBatch>> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut number = || match spread {
        Spread::Amounts => f64::from(rng.random_range(0..100_000)) / 100.0,
        Spread::Wide => loop {
            let any = f64::from_bits(rng.random());
            // A square must stay finite, too.
            if any.abs() < 1e150 {
                break any;
            }
        },
    };
    let batch = |start: u64| {
        let n = BATCH_ROWS.min(n_rows - start);
        let groups = UInt64Array::from_iter_values((start..start + n).map(|row| row * 7_919 % n_groups));
        let numbers: Float64Array = (0..n).map(|_| Some(number())).collect();
        Ok(RecordBatch::try_new(schema(), vec![Arc::new(groups), Arc::new(numbers)])?)
    };
    (0..n_rows).step_by(BATCH_ROWS as usize).map(batch).collect()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("g", DataType::UInt64, false), Field::new("f", DataType::Float64, false)]))
}
