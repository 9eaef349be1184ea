//! The append-only history of connects, disconnects and failed attempts.

use domain::id::{ReferenceId, UserId};
use domain::plan::AuthEvent;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::read::{cursor, one_more};
use super::row::{column, environment, get, order, storable, strange};
use super::unit::Db;
use crate::store::{AuthEventFilter, AuthEventView, Listing, Page, StoreError};

const WRITE_HISTORY: &str = "
INSERT INTO auth_event (environment, kind, succeeded, terra_user_id, reference_id, provider, event_order, received_at,
                        detail)
SELECT environment, kind, succeeded, terra_user_id, reference_id, provider, event_order, received_at, detail
  FROM unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::bytea[],
              $8::timestamptz[], $9::jsonb[])
       WITH ORDINALITY AS told (environment, kind, succeeded, terra_user_id, reference_id, provider, event_order,
                                received_at, detail, place)
 ORDER BY place";

pub(super) async fn insert(db: &Db, events: &[(AuthEvent, Timestamp)]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    db.execute(
        WRITE_HISTORY,
        &[
            &column(events, |(event, _)| event.environment.as_str()),
            &column(events, |(event, _)| event.kind.as_str()),
            &column(events, |(event, _)| event.succeeded),
            &column(events, |(event, _)| event.terra_user_id.as_deref()),
            &column(events, |(event, _)| event.reference.as_ref().map(ReferenceId::as_str)),
            &column(events, |(event, _)| event.provider.as_deref()),
            &column(events, |(event, _)| event.order.as_bytes().as_slice()),
            &column(events, |(_, received_at)| *received_at),
            &column(events, |(event, _)| storable(event.detail.clone())),
        ],
    )
    .await?;
    Ok(())
}

const AUTH_EVENTS: &str = "
SELECT auth_event.id, auth_event.environment, auth_event.kind, auth_event.succeeded, auth_event.terra_user_id,
       auth_event.reference_id, auth_event.provider, auth_event.event_order, auth_event.received_at, auth_event.detail
  FROM auth_event
 WHERE ($1::text IS NULL
        OR EXISTS (SELECT FROM alias
                    WHERE alias.environment = auth_event.environment
                      AND alias.terra_user_id = auth_event.terra_user_id AND alias.user_id = $1))
   AND ($2::text IS NULL OR auth_event.terra_user_id = $2)
   AND ($3::text IS NULL OR auth_event.kind = $3)
   AND ($4::bigint IS NULL OR auth_event.id > $4)
 ORDER BY auth_event.id
 LIMIT $5";

pub(super) async fn list(db: &Db, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError> {
    let after: Option<i64> = cursor(page)?;
    let user = filter.user.as_ref().map(UserId::as_str);
    let rows = db.rows(AUTH_EVENTS, &[&user, &filter.terra_user_id, &filter.kind, &after, &one_more(page)]).await?;
    let views = rows.iter().map(auth_event).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

fn auth_event(row: &Row) -> Result<AuthEventView, StoreError> {
    let happened = order(row, "event_order")?.ms();
    Ok(AuthEventView {
        id: get(row, "id")?,
        environment: environment(row)?,
        kind: get(row, "kind")?,
        succeeded: get(row, "succeeded")?,
        terra_user_id: get(row, "terra_user_id")?,
        reference_id: get(row, "reference_id")?,
        provider: get(row, "provider")?,
        happened_at: Timestamp::from_millisecond(happened).map_err(|_| strange("event_order"))?,
        received_at: get(row, "received_at")?,
        detail: get(row, "detail")?,
    })
}
