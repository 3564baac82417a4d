//! Which requests are served at all.
//!
//! There is no password, and any web page a user of this machine opens can send requests to a loopback address. What a page
//! cannot do is the protection: name a loopback Host after DNS rebinding, leave out a foreign Origin, or send a JSON, NDJSON or CSV
//! body without a preflight request, which is answered with 403 or 405 here.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Http;
use super::failure::Failure;

/// Refuses what a web page of another site could have sent.
pub async fn check(State(http): State<Http>, request: Request, next: Next) -> Response {
    http.n_requests.fetch_add(1, Ordering::Relaxed);
    let from_uri = request.uri().authority().map(|authority| authority.as_str().to_owned());
    match check_headers(&http, request.headers(), from_uri) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn check_headers(http: &Http, headers: &HeaderMap, from_uri: Option<String>) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let host = text(header::HOST).map(str::to_owned).or(from_uri).unwrap_or_default();
    if headers.get_all(header::HOST).iter().count() > 1 || !http.knows(&host) {
        return Err(Failure::request(
            421,
            &format!("this server is not {host:?}"),
            "use its loopback address, or name the host in --http-hosts",
        ));
    }
    if let Some(origin) = text(header::ORIGIN) {
        // Same site: the Origin's host is one of ours and its port is the Host's.
        let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(&host));
        if !same {
            return Err(Failure::request(
                403,
                &format!("requests from {origin:?} are not served"),
                "web pages of other sites may not use this server",
            ));
        }
    }
    if text(header::HeaderName::from_static("sec-fetch-site")).is_some_and(|site| matches!(site, "cross-site" | "same-site")) {
        return Err(Failure::request(403, "requests from other sites are not served", "web pages of other sites may not use this server"));
    }
    Ok(())
}

impl Http {
    /// True for loopback addresses, `localhost` and configured names, with any port.
    fn knows(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let is_loopback = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || name == "localhost" || self.hosts.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

/// The media type of a request without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
