//! Terra's REST interface, the same below both bases, and its Admin API beside it.

mod admin;
mod answer;
mod auth;
mod credentials;
mod data;
mod integrations;
mod users;
mod widget_session;
mod window;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::refusal::Refusal;

pub(crate) use admin::BASE as ADMIN_BASE;
pub(crate) use window::Window;

/// The bases of the newer and of the older platform.
const BASES: [&str; 2] = ["/api/v2", "/v2"];

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    admin::routes(config);
    config.route("/api/widget/session", web::post().to(widget_session::newer));
    for base in BASES {
        config.service(
            web::scope(base)
                .route("/auth/generateWidgetSession", web::post().to(widget_session::legacy))
                .route("/auth/authenticateUser", web::post().to(auth::authenticate_user))
                .route("/auth/deauthenticateUser", web::delete().to(auth::deauthenticate_user))
                .route("/auth/generateAuthToken", web::post().to(auth::generate_auth_token))
                .route("/userInfo", web::get().to(users::user_info))
                .route("/bulkUserInfo", web::post().to(users::bulk_user_info))
                .route("/subscriptions", web::get().to(users::subscriptions))
                .route("/integrations", web::get().to(integrations::list))
                .route("/integrations/detailed", web::get().to(integrations::detailed))
                .route("/{kind}", web::get().to(data::read))
                .default_service(web::to(not_found)),
        );
    }
}

pub(crate) async fn not_found(request: HttpRequest) -> HttpResponse {
    Refusal::of(&request, StatusCode::NOT_FOUND, "no such endpoint").response()
}
