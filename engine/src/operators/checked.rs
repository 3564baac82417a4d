//! Arithmetic that fails where DataFusion's would wrap: `+ - *` and negation on integers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::kernels::numeric::neg;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, NegativeExpr};

use crate::Result;

/// The same expression with all of its integer arithmetic checked.
pub fn checked(expression: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let rewritten = Arc::clone(expression).transform_up(|expression| {
        if let Some(binary) = expression.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
            let binary = BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true);
            return Ok(Transformed::yes(Arc::new(binary) as Arc<dyn PhysicalExpr>));
        }
        if let Some(negative) = expression.downcast_ref::<NegativeExpr>() {
            return Ok(Transformed::yes(Arc::new(CheckedNegation(Arc::clone(negative.arg()))) as Arc<dyn PhysicalExpr>));
        }
        Ok(Transformed::no(expression))
    })?;
    Ok(rewritten.data)
}

/// `- argument`, where the least integer has no opposite.
#[derive(Debug, Clone, Eq)]
struct CheckedNegation(Arc<dyn PhysicalExpr>);

impl PartialEq for CheckedNegation {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for CheckedNegation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for CheckedNegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(- {})", self.0)
    }
}

impl PhysicalExpr for CheckedNegation {
    fn data_type(&self, schema: &Schema) -> datafusion::common::Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> datafusion::common::Result<bool> {
        self.0.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> datafusion::common::Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> datafusion::common::Result<ColumnarValue> {
        match self.0.evaluate(batch)? {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(neg(&array)?)),
            ColumnarValue::Scalar(scalar) => Ok(ColumnarValue::Scalar(scalar.arithmetic_negate()?)),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> datafusion::common::Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self(children.remove(0))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(- ")?;
        self.0.fmt_sql(f)?;
        write!(f, ")")
    }
}
