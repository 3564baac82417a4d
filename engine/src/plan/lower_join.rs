//! Joins. Keys that are expressions are computed by a map below their side; the rest of the condition is a residual over
//! the left's columns followed by the right's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, logical_plan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::CastExpr;

use super::lower::{Lowering, columns_of};
use super::lower_map::{as_column, map};
use super::{Join, JoinKind, Node, Plan};
use crate::Result;

impl Lowering<'_> {
    /// `None` for null-aware joins (`NOT IN` over columns that can be null) and kinds we have no operator for.
    pub(super) fn join(&self, join: &logical_plan::Join) -> Result<Option<Plan>> {
        let Some((kind, swapped)) = kind(join.join_type) else { return Ok(None) };
        if join.null_aware && can_meet_null(join) {
            return Ok(None);
        }
        let (left, right) = if swapped { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let on = join.on.iter().map(|(left, right)| if swapped { (right, left) } else { (left, right) });
        let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) = on.unzip();
        let Some(left_keys) = self.compile_all(left_on, left.schema()) else { return Ok(None) };
        let Some(right_keys) = self.compile_all(right_on, right.schema()) else { return Ok(None) };
        let Some((left_keys, right_keys)) = same_types(left_keys, left.schema(), right_keys, right.schema()) else { return Ok(None) };
        let residual = match &join.filter {
            Some(filter) => {
                let Some(pairs) = pair_schema(left.schema(), right.schema()) else { return Ok(None) };
                let Some(residual) = self.compile(filter, &pairs) else { return Ok(None) };
                Some(residual)
            }
            None => None,
        };
        let sides = Sides {
            left: with_columns(self.lower(left)?, left_keys),
            right: with_columns(self.lower(right)?, right_keys),
            n_left: left.schema().fields().len(),
            n_right: right.schema().fields().len(),
        };
        let nulls_equal = join.null_equality == NullEquality::NullEqualsNull;
        Ok(Some(sides.join(kind, nulls_equal, residual, Arc::new(join.schema.as_arrow().clone()))))
    }
}

fn kind(join_type: JoinType) -> Option<(JoinKind, bool)> {
    Some(match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::LeftSemi, false),
        JoinType::LeftAnti => (JoinKind::LeftAnti, false),
        JoinType::LeftMark => (JoinKind::LeftMark, false),
        JoinType::RightSemi => (JoinKind::LeftSemi, true),
        JoinType::RightAnti => (JoinKind::LeftAnti, true),
        JoinType::RightMark => (JoinKind::LeftMark, true),
    })
}

/// A null-aware join is a plain one when no key on either side can be null.
fn can_meet_null(join: &logical_plan::Join) -> bool {
    use datafusion::logical_expr::ExprSchemable;
    let nullable = |key: &Expr, schema: &DFSchema| key.nullable(schema).unwrap_or(true);
    join.filter.is_some() || join.on.iter().any(|(left, right)| nullable(left, join.left.schema()) || nullable(right, join.right.schema()))
}

/// Left's columns followed by right's, for the residual; `None` when a qualified name is on both sides.
fn pair_schema(left: &DFSchema, right: &DFSchema) -> Option<DFSchema> {
    left.join(right).ok()
}

type Keys = Vec<Arc<dyn PhysicalExpr>>;

/// Key pairs cast to the type in which they are compared.
fn same_types(left: Keys, left_schema: &DFSchema, right: Keys, right_schema: &DFSchema) -> Option<(Keys, Keys)> {
    let pairs = left.into_iter().zip(right).map(|(left, right)| {
        let left_type = left.data_type(left_schema.as_arrow()).ok()?;
        let right_type = right.data_type(right_schema.as_arrow()).ok()?;
        if left_type == right_type {
            return Some((left, right));
        }
        let common = comparison_coercion(&left_type, &right_type)?;
        Some((cast(left, &left_type, &common), cast(right, &right_type, &common)))
    });
    pairs.collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

fn cast(key: Arc<dyn PhysicalExpr>, from: &DataType, to: &DataType) -> Arc<dyn PhysicalExpr> {
    if from == to { key } else { Arc::new(CastExpr::new(key, to.clone(), None)) }
}

/// A plan that has the wanted expressions as columns, and where they are. Those that are no column of the input are
/// appended after the input's columns.
pub(super) struct WithColumns {
    pub(super) plan: Plan,
    pub(super) columns: Vec<usize>,
}

/// Appends to `input` those of `expressions` that are not its columns already.
pub(super) fn with_columns(input: Plan, expressions: Vec<Arc<dyn PhysicalExpr>>) -> WithColumns {
    let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut computed = columns_of(&input.schema);
    let mut columns = Vec::with_capacity(expressions.len());
    for expression in expressions {
        if let Some(index) = as_column(&expression) {
            columns.push(index);
            continue;
        }
        let place = computed.iter().position(|known| known == &expression).unwrap_or_else(|| {
            fields.push(computed_field(&expression, &input.schema));
            computed.push(Arc::clone(&expression));
            computed.len() - 1
        });
        columns.push(place);
    }
    if computed.len() == input.schema.fields().len() {
        return WithColumns { plan: input, columns };
    }
    let plan = map(input, None, computed, Arc::new(Schema::new(fields)));
    WithColumns { plan, columns }
}

/// The column that holds an expression, named by its text.
pub(super) fn computed_field(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Field {
    let name = super::explain::expression(expression);
    let data_type = expression.data_type(schema).unwrap_or(DataType::Null);
    Field::new(name, data_type, expression.nullable(schema).unwrap_or(true))
}

struct Sides {
    left: WithColumns,
    right: WithColumns,
    n_left: usize,
    n_right: usize,
}

impl Sides {
    /// Joins them and drops the columns that were computed for keys.
    fn join(self, kind: JoinKind, nulls_equal: bool, residual: Option<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Plan {
        let (left_width, right_width) = (self.left.plan.schema.fields().len(), self.right.plan.schema.fields().len());
        let append_only = kind == JoinKind::Inner && self.left.plan.append_only && self.right.plan.append_only;
        let append_only = append_only || (kind == JoinKind::LeftSemi && self.left.plan.append_only && self.right.plan.append_only);
        let joined_schema = joined_schema(&self.left.plan.schema, &self.right.plan.schema, kind);
        let node = Node::Join(Box::new(Join {
            left_keys: self.left.columns,
            right_keys: self.right.columns,
            residual: residual.map(|residual| shift_right(residual, self.n_left, left_width)),
            left: self.left.plan,
            right: self.right.plan,
            kind,
            nulls_equal,
            looks_up: [false; 2],
        }));
        let joined = Plan { node, schema: Arc::clone(&joined_schema), append_only };
        let kept: Vec<usize> = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => (0..self.n_left).collect(),
            JoinKind::LeftMark => (0..self.n_left).chain([left_width]).collect(),
            _ => (0..self.n_left).chain(left_width..left_width + self.n_right).collect(),
        };
        if kept.len() == joined_schema.fields().len() && left_width == self.n_left && right_width == self.n_right {
            return Plan { schema, ..joined };
        }
        let expressions = kept.iter().map(|index| super::lower::column(&joined_schema, *index)).collect();
        map(joined, None, expressions, schema)
    }
}

/// Moves the residual's references to right columns past the columns computed on the left.
pub(super) fn shift_right(residual: Arc<dyn PhysicalExpr>, n_left: usize, left_width: usize) -> Arc<dyn PhysicalExpr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    use datafusion::physical_expr::expressions::Column;
    let shifted = residual.transform_up(|node| match node.downcast_ref::<Column>() {
        Some(column) if column.index() >= n_left => {
            let moved = Column::new(column.name(), column.index() - n_left + left_width);
            Ok(Transformed::yes(Arc::new(moved) as Arc<dyn PhysicalExpr>))
        }
        _ => Ok(Transformed::no(node)),
    });
    shifted.expect("moving columns does not fail").data
}

fn joined_schema(left: &Schema, right: &Schema, kind: JoinKind) -> SchemaRef {
    let side = |schema: &Schema, nullable: bool| -> Vec<Field> {
        let widened = |field: &Arc<Field>| field.as_ref().clone().with_nullable(field.is_nullable() || nullable);
        schema.fields().iter().map(widened).collect()
    };
    let fields = match kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => side(left, false),
        JoinKind::LeftMark => [side(left, false), vec![Field::new("mark", DataType::Boolean, false)]].concat(),
        _ => {
            let left_nulls = matches!(kind, JoinKind::Right | JoinKind::Full);
            let right_nulls = matches!(kind, JoinKind::Left | JoinKind::Full);
            [side(left, left_nulls), side(right, right_nulls)].concat()
        }
    };
    Arc::new(Schema::new(fields))
}
