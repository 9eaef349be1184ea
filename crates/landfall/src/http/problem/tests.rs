//! Errors as the answers that they become.

use std::time::Duration;

use actix_web::body::MessageBody;

use super::*;

#[track_caller]
fn check(problem: impl Into<Problem>, status: u16, code: &str) -> Problem {
    let problem = problem.into();
    assert_eq!((problem.status.as_u16(), problem.code), (status, code));
    problem
}

#[test]
fn every_failure_of_the_store_has_its_own_code() {
    check(StoreError::Unavailable("db:5432 refused".into()), 503, "store_unavailable");
    check(StoreError::Contention, 503, "store_busy");
    check(StoreError::TooSlow, 503, "store_unavailable");
    check(StoreError::BadCursor, 400, "bad_cursor");
    check(StoreError::Incompatible("9".into()), 503, "schema_unfit");
    check(StoreError::Rejected { constraint: "alias_pkey".into() }, 500, "internal");
}

#[test]
fn terras_refusals_say_what_to_do() {
    assert!(check(TerraError::Gone, 502, "terra_gone").detail.contains("LANDFALL_WIDGET=session"));
    assert!(check(TerraError::Credentials, 502, "terra_credentials").detail.contains("dashboard"));
    assert!(check(TerraError::NoSource, 502, "terra_no_source").detail.contains("enable one"));
    check(TerraError::Refused { status: 400, message: None }, 502, "terra_refused");
    check(TerraError::Unreadable, 502, "terra_unreadable");
}

#[test]
fn a_wait_that_terra_asks_for_is_handed_on() {
    let problem = check(TerraError::Limited { retry_after: Some(Duration::from_secs(30)) }, 503, "terra_limited");
    let answer = problem.error_response();
    assert_eq!(answer.headers().get(RETRY_AFTER).unwrap(), "30");
}

#[test]
fn the_document_has_a_code_and_no_cause() {
    let answer = Problem::from(StoreError::Unavailable("db:5432 refused".into())).error_response();
    assert_eq!(answer.headers().get("content-type").unwrap(), "application/problem+json");
    let body = answer.into_body().try_into_bytes().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["code"], "store_unavailable");
    assert_eq!(document["status"], 503);
    assert!(!String::from_utf8_lossy(&body).contains("5432"));
}
