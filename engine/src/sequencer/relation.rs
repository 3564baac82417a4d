//! What workers and the sequencer need of an object of the catalog: ports, kernels, key index, source. Everything that can
//! fail about it fails here, before the sequencer is asked.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use catalog::{Column, Definition, Object, ObjectId};

use super::intake::IntakeTimes;
use super::table::Table;
use crate::command::{Create, CreateDataflow, CreateErrors, Keep};
use crate::decode::decode_error_schema;
use crate::metrics::RelationEntry;
use crate::operators::graph;
use crate::plan::Plan;
use crate::published::{Ports, Publications, Published};
use crate::sink::blackhole::Blackhole;
use crate::source::spec::SourceSpec;
use crate::{Epoch, Error, Result};

/// A relation about to be created.
pub struct NewRelation {
    /// Its id.
    pub id: ObjectId,
    /// The epoch it begins after.
    pub since: Epoch,
    /// Relations it reads.
    pub reads: Vec<ObjectId>,
    /// For each worker.
    pub creates: Vec<Vec<Create>>,
    /// Counters of it and its errors relation.
    pub metrics: Vec<(ObjectId, RelationEntry)>,
    /// Where the ports of both publish, by worker.
    pub published: Vec<(ObjectId, Ports)>,
    /// For a relation that is not computed.
    pub stored: Option<Stored>,
    /// Where its rows come from.
    pub source: Option<SourceSpec>,
}

/// What the sequencer keeps of a relation that is not computed.
pub struct Stored {
    /// Columns whose hash decides the worker; `None` where rows are never deleted.
    pub shard_columns: Option<Vec<usize>>,
    /// The key index of a table.
    pub table: Option<Table>,
    /// Where rows go that cannot be decoded.
    pub errors: Option<ObjectId>,
    /// Its columns that hold the time of intake.
    pub intake_times: Option<IntakeTimes>,
    /// It keeps nothing, and starts with its first reader.
    pub starts_when_read: bool,
}

/// What all relations of one engine are made with.
#[derive(Clone)]
pub struct Workshop {
    /// How many workers there are.
    pub n_workers: usize,
    /// Where `file` sources may read.
    pub file_root: Option<std::path::PathBuf>,
    /// Where ports publish: joins look rows up there.
    pub published: Publications,
}

/// The Arrow schema of an object's columns, with their SQL types in the metadata.
pub fn schema_of(object: &Object) -> SchemaRef {
    match &object.definition {
        Definition::Errors { .. } if object.columns.is_empty() => decode_error_schema(),
        _ => Arc::new(Schema::new(
            object.columns.iter().map(|column| column.sql_type.field(&column.name, column.nullable)).collect::<Vec<_>>(),
        )),
    }
}

/// Whether rows of the relation are never deleted.
pub fn is_append_only(object: &Object, plan: Option<&Plan>) -> bool {
    match (&object.definition, plan) {
        (Definition::Stream { .. }, _) => true,
        (_, Some(plan)) => plan.append_only,
        _ => false,
    }
}

/// The source an object's options ask for, of the columns that it brings; `None` for a stream rows are pushed to.
pub fn source_of(object: &Object, file_root: Option<&Path>) -> Result<Option<SourceSpec>> {
    match &object.definition {
        Definition::Stream { options, .. } if options.contains_key("connector") => {
            let brought: Vec<Column> = object.columns.iter().filter(|column| !object.is_intake_time(&column.name)).cloned().collect();
            SourceSpec::from_options(options, &brought, file_root).map(Some)
        }
        _ => Ok(None),
    }
}

impl Workshop {
    /// A stream, table or errors relation of a stream.
    pub fn stored(&self, object: &Object) -> Result<NewRelation> {
        let schema = schema_of(object);
        let mut stored = Stored { shard_columns: None, table: None, errors: None, intake_times: None, starts_when_read: false };
        let mut keep_nothing = false;
        let mut key: Vec<usize> = (0..schema.fields().len()).collect();
        match &object.definition {
            Definition::Stream { options, errors, .. } => {
                keep_nothing = keeps_nothing(options.get("retention").map(String::as_str))?;
                stored.starts_when_read = keep_nothing;
                stored.errors = Some(*errors);
                stored.intake_times = IntakeTimes::of(object);
            }
            Definition::Table { primary_key, .. } => {
                stored.table = Some(Table::new(object.name.clone(), schema.clone(), primary_key.clone())?);
                if !primary_key.is_empty() {
                    key.clone_from(primary_key);
                }
                stored.shard_columns = Some(key.clone());
            }
            Definition::Errors { .. } => {}
            other => return Err(Error::internal(format!("{other:?} is not stored"))),
        }
        let entry = RelationEntry::new(self.n_workers, Vec::new());
        let published = Published::for_workers(self.n_workers);
        let shard_columns = stored.shard_columns.clone();
        let append_only = !matches!(object.definition, Definition::Table { .. });
        let creates = (0..self.n_workers)
            .map(|worker| Create {
                relation: object.id,
                schema: schema.clone(),
                append_only,
                keep: if keep_nothing { Keep::Nothing } else { Keep::Trace(key.clone()) },
                metrics: Arc::clone(&entry.relation[worker]),
                published: Arc::clone(&published[worker]),
                as_of: 0,
                dataflow: None,
            })
            .collect();
        Ok(NewRelation {
            id: object.id,
            since: object.since,
            reads: Vec::new(),
            creates: vec![creates],
            metrics: vec![(object.id, entry)],
            published: vec![(object.id, Ports { ports: published, key: shard_columns })],
            stored: Some(stored),
            source: source_of(object, self.file_root.as_deref())?,
        })
    }

    /// A materialized view, sink or index, kept current by `plan`; failing rows go to `errors`, where any can fail.
    pub fn computed(&self, id: ObjectId, errors: Option<ObjectId>, since: Epoch, plan: &Plan, sink: Option<&str>) -> Result<NewRelation> {
        let entry = RelationEntry::new(self.n_workers, graph::names(plan));
        let errors_entry = RelationEntry::new(self.n_workers, Vec::new());
        let (published, errors_published) = (Published::for_workers(self.n_workers), Published::for_workers(self.n_workers));
        let mut creates = Vec::with_capacity(self.n_workers);
        for worker in 0..self.n_workers {
            let port = |relation| self.published.get(relation).map(|ports| Arc::clone(&ports.ports[worker]));
            let graph = graph::build(plan, worker, &entry.operators[worker], &port)?;
            creates.push(Create {
                relation: id,
                schema: plan.schema.clone(),
                append_only: plan.append_only,
                keep: match sink {
                    None => Keep::Trace(plan.lookup_key()),
                    Some("blackhole") => Keep::Sink(Box::new(Blackhole::default())),
                    Some(other) => return Err(no_such_sink(other)),
                },
                metrics: Arc::clone(&entry.relation[worker]),
                published: Arc::clone(&published[worker]),
                as_of: 0,
                dataflow: Some(CreateDataflow {
                    graph,
                    errors: errors.map(|relation| CreateErrors {
                        relation,
                        metrics: Arc::clone(&errors_entry.relation[worker]),
                        published: Arc::clone(&errors_published[worker]),
                    }),
                    in_flow_control: !plan.is_recomputed(),
                }),
            });
        }
        let of_errors = errors.map(|errors| ((errors, errors_entry), (errors, Ports { ports: errors_published, key: None })));
        let (errors_metrics, errors_ports): (Vec<_>, Vec<_>) = of_errors.into_iter().unzip();
        Ok(NewRelation {
            id,
            since,
            reads: plan.relations(),
            creates: vec![creates],
            metrics: [vec![(id, entry)], errors_metrics].concat(),
            published: [vec![(id, Ports { ports: published, key: graph::key_of(plan) })], errors_ports].concat(),
            stored: None,
            source: None,
        })
    }
}

/// Whether a stream of this `retention` keeps no rows.
pub(crate) fn keeps_nothing(retention: Option<&str>) -> Result<bool> {
    match retention {
        None | Some("forever") => Ok(false),
        Some("0") => Ok(true),
        Some(other) => Err(Error::unsupported(
            format!("retention = '{other}' is not supported yet"),
            "use retention = 'forever' (the default) or '0', which keeps nothing",
        )),
    }
}

fn no_such_sink(connector: &str) -> Error {
    Error::unsupported(format!("there is no sink connector \"{connector}\""), "the sink connector there is: blackhole")
}
