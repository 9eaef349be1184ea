//! A stand-in for Terra, for development and tests.
//!
//! It speaks Terra's side of the contract over real HTTP: the REST interface on both bases, the widget
//! pages, and signed webhooks with retries. It shares no code with the receiving side, so that a
//! misunderstanding of Terra's documentation is not made twice in the same place.
//!
//! Equal seeds and an equal start of the clock give equal ids and equal data. Beyond what Terra has,
//! routes below `/_simulator` send chosen events, show what was sent and asked, cause faults, and play
//! [`scenarios`]: stories with an end state that a receiver must reach.

mod catalog;
mod clock;
mod connect;
mod control;
mod courier;
mod dials;
mod dice;
mod disturbance;
pub mod event;
mod event_log;
mod fault;
pub mod generate;
mod history;
mod large_request;
mod live;
mod lock;
mod outage;
mod payload;
mod rate_limit;
mod redirect;
mod refusal;
mod request_log;
mod rest;
mod retry;
mod ring;
mod scenario;
mod server;
mod session;
mod set_path;
mod settings;
mod signature;
mod user;
mod webhook;
mod whims;
mod widget;
mod world;

pub use rate_limit::Budget;
pub use retry::RetrySchedule;
pub use scenario::{RunError, Scenario, scenarios};
pub use server::{Ordering, SendOptions, Simulator, StartError, TraceId, start};
pub use set_path::{SetPathError, set_path};
pub use settings::{Amount, AuthWebhook, Dialect, Settings};
pub use signature::sign;
pub use user::User;
pub use webhook::{SendError, Sent};
