//! Planning, tested as text: SQL in, operators, rows or an error out. Every view that is lowered here is also evaluated by
//! [`reference`], a slow and obvious interpreter of plans, and compared with DataFusion's batch run of the same query.

mod batch;
mod errors;
mod fixture;
mod lowering;
mod nexmark;
mod reference;
mod temporal;
mod writes;
