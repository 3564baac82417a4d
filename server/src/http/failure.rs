//! Errors as JSON: `{"error": {"sqlstate": …, "message": …, "hint": …}}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::Error;

use crate::encode::json;

/// An error and its HTTP status.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    error: Error,
}

impl Failure {
    /// A request that cannot be served, whatever its SQL.
    pub fn request(status: u16, message: &str, hint: &str) -> Self {
        let status = StatusCode::from_u16(status).expect("statuses are constants here");
        Self { status, error: Error::new("08P01", message).with_hint(hint) }
    }
}

impl From<Error> for Failure {
    /// The class of the SQLSTATE says whose fault it is.
    fn from(error: Error) -> Self {
        let status = match (&error.sqlstate[..2], error.sqlstate) {
            (_, "42P01" | "42704" | "3F000") => StatusCode::NOT_FOUND,
            (_, "57P01") => StatusCode::SERVICE_UNAVAILABLE,
            (_, "57014") => StatusCode::REQUEST_TIMEOUT,
            ("23" | "40", _) => StatusCode::CONFLICT,
            ("53", _) => StatusCode::INSUFFICIENT_STORAGE,
            ("58" | "XX", _) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json::error(&self.error))).into_response()
    }
}
