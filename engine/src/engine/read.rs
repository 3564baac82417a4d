//! Queries: planned, given a snapshot of each relation at one epoch, and run by DataFusion's batch engine. Readers never block
//! writers: a snapshot is a list of immutable batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use catalog::ObjectId;
use datafusion::datasource::TableProvider;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tokio::sync::oneshot;

use super::names::Names;
use super::snapshot_table::{FEW_ROWS, SnapshotTable};
use super::{Core, Engine, Rows, Transaction, shut_down};
use crate::command::{Command, Read};
use crate::plan::interrupt::Interrupt;
use crate::plan::query::{PlannedQuery, Planner};
use crate::plan::statement::{CopySource, Parsed, Statement};
use crate::sequencer::relation::schema_of;
use crate::state::history::Snapshot as RelationSnapshot;
use crate::time::Hold;
use crate::{Error, Result};

impl Engine {
    /// Runs a query at one epoch, in `transaction`'s snapshot with its own writes when there is one.
    pub async fn query(&self, query: &ast::Query, transaction: Option<&Transaction>) -> Result<Rows> {
        self.core.run(self.core.plan_read(query, transaction)?, transaction).await
    }

    /// The same for a statement that is a query, or a COPY TO of one: errors then carry their place in its text.
    pub async fn read(&self, parsed: &Parsed, transaction: Option<&Transaction>) -> Result<Rows> {
        let (Statement::Query(query) | Statement::CopyOut { source: CopySource::Query(query), .. }) = &parsed.statement else {
            return Err(Error::internal("only a query can be read"));
        };
        self.core.run(self.core.plan_statement(query, Some(parsed), transaction)?, transaction).await
    }
}

impl Core {
    async fn run(&self, planned: PlannedQuery, transaction: Option<&Transaction>) -> Result<Rows> {
        let hold = transaction.map_or_else(|| self.shared.clock.hold_newest(), |transaction| transaction.hold().clone());
        let notices = self.failed_rows(&planned.relations(), &hold).await?;
        let (providers, n_rows) = self.providers(&planned, &hold, transaction).await?;
        let has_few_rows = n_rows.is_some_and(|n_rows| n_rows <= FEW_ROWS);
        let planned = if has_few_rows { planned.in_one_partition() } else { planned };
        let physical = planned.physical(&providers).await?;
        let is_short = has_few_rows && !multiplies_rows(physical.as_ref());
        let (schema, epoch) = (planned.described_columns(), hold.epoch());
        let stream = if is_short { planned.start(physical)? } else { planned.start_when_read(physical)? };
        Ok(Rows { schema, stream, epoch, notices, interrupt: Interrupt::current(), is_short })
    }

    pub(super) fn plan_read(&self, query: &ast::Query, transaction: Option<&Transaction>) -> Result<PlannedQuery> {
        self.plan_statement(query, None, transaction)
    }

    fn plan_statement(&self, query: &ast::Query, source: Option<&Parsed>, transaction: Option<&Transaction>) -> Result<PlannedQuery> {
        let names = Names { expand_views: transaction.is_some_and(Transaction::has_writes), ..self.names() };
        let mut query = query.clone();
        names.inline(&mut query)?;
        Planner::new(&self.session, &names, self.clock.now_us()).with_optional_source(source).read(&query)
    }

    /// All rows of a planned query.
    pub(super) async fn collect(&self, planned: &PlannedQuery, hold: &Hold, transaction: Option<&Transaction>) -> Result<Vec<RecordBatch>> {
        // Who writes what a query says is not told of rows that the query lacks, unless it may not lack any.
        self.failed_rows(&planned.relations(), hold).await?;
        let (providers, _) = self.providers(planned, hold, transaction).await?;
        let mut stream = planned.execute(&providers).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// A table provider for each relation a query reads, and how many rows they have at most; `None` where that is not known.
    pub(super) async fn providers(
        &self,
        planned: &PlannedQuery,
        hold: &Hold,
        transaction: Option<&Transaction>,
    ) -> Result<(HashMap<ObjectId, Arc<dyn TableProvider>>, Option<u64>)> {
        let relations = planned.relations();
        let catalog = self.catalog();
        let snapshots = self.snapshots(&relations, hold).await?;
        let is_known = !relations.is_empty() && transaction.is_none_or(|transaction| !transaction.has_writes());
        let n_rows = is_known.then(|| snapshots.iter().flatten().map(RelationSnapshot::n_rows_at_most).sum());
        let providers = relations.into_iter().zip(snapshots).map(|(id, snapshots)| {
            let provider = match transaction.and_then(|transaction| transaction.written(id)) {
                Some(written) => written.provider()?,
                None => {
                    let table = SnapshotTable::new(schema_of(catalog.require(id)?), snapshots);
                    Arc::new(table.with_indexes(self.index_snapshots(&catalog, id, hold.epoch())))
                }
            };
            Ok((id, provider))
        });
        Ok((providers.collect::<Result<_>>()?, n_rows))
    }

    /// Each relation's rows at the held epoch, by worker; waits until they are there.
    pub(super) async fn snapshots(&self, relations: &[ObjectId], hold: &Hold) -> Result<Vec<Vec<RelationSnapshot>>> {
        let mut replies = Vec::new();
        for relation in relations {
            if let Some(published) = self.shared.published.snapshots_at(*relation, hold.epoch()) {
                replies.push(Reply::Published(published));
                continue;
            }
            let mut of_relation = Vec::new();
            self.workers.send_all(|_| {
                let (reply, answer) = oneshot::channel();
                of_relation.push(answer);
                Command::Read(Read { relation: *relation, hold: hold.clone(), reply })
            });
            replies.push(Reply::Asked(of_relation));
        }
        let mut snapshots = Vec::new();
        for reply in replies {
            snapshots.push(reply.snapshots().await?);
        }
        Ok(snapshots)
    }

    /// Returns when all workers have closed the newest recorded epoch of a relation that keeps no rows.
    pub(super) async fn wait_until_closed(&self, relation: ObjectId) -> Result<()> {
        self.snapshots(&[relation], &self.shared.clock.hold_newest()).await.map(drop)
    }
}

/// Whether a plan may have many rows of few: it joins, recurses, unnests or makes rows.
fn multiplies_rows(plan: &dyn ExecutionPlan) -> bool {
    let name = plan.name();
    let multiplies = name.contains("Join") || ["RecursiveQueryExec", "UnnestExec", "LazyMemoryExec"].contains(&name);
    multiplies || plan.children().into_iter().any(|child| multiplies_rows(child.as_ref()))
}

/// One relation's snapshots, or whom they are awaited from.
enum Reply {
    Published(Vec<RelationSnapshot>),
    Asked(Vec<oneshot::Receiver<Result<RelationSnapshot>>>),
}

impl Reply {
    async fn snapshots(self) -> Result<Vec<RelationSnapshot>> {
        let asked = match self {
            Self::Published(snapshots) => return Ok(snapshots),
            Self::Asked(asked) => asked,
        };
        let mut of_workers = Vec::new();
        for reply in asked {
            of_workers.push(reply.await.map_err(|_| shut_down())??);
        }
        Ok(of_workers)
    }
}
