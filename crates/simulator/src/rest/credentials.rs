//! The two headers that every call needs.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, web};

use crate::refusal::Refusal;
use crate::world::World;

/// Proof that a handler's caller showed `dev-id` and `x-api-key`: naming it as an argument is the
/// check.
pub(crate) struct Caller;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Right,
    Wrong,
    Missing,
}

pub(crate) fn shown(request: &HttpRequest) -> Shown {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(world) = request.app_data::<web::Data<World>>() else {
        return Shown::Missing;
    };
    match (header("dev-id"), header("x-api-key")) {
        (Some(dev_id), Some(api_key)) => {
            if dev_id == world.dev_id && api_key == world.api_key {
                Shown::Right
            } else {
                Shown::Wrong
            }
        }
        (_, _) => Shown::Missing,
    }
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = std::future::Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let refuse = |detail: &str| Err(Refusal::of(request, StatusCode::UNAUTHORIZED, detail));
        std::future::ready(match shown(request) {
            Shown::Right => Ok(Self),
            Shown::Wrong => refuse("dev-id or x-api-key is invalid"),
            Shown::Missing => refuse("dev-id or x-api-key headers are missing"),
        })
    }
}
