//! The names of Terra's events.

use serde::{Deserialize, Serialize};

/// What a webhook is about. The set is open: a name we do not know is `Other`, never an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Auth,
    AuthCancelled,
    UserReauth,
    Deauth,
    AccessRevoked,
    ConnectionError,
    PermissionChange,
    Activity,
    Sleep,
    Daily,
    Body,
    Nutrition,
    Menstruation,
    Athlete,
    PlannedWorkout,
    Hormone,
    HealthObservation,
    LabReportCompleted,
    LabReportFailed,
    LargeRequestProcessing,
    LargeRequestSending,
    S3Payload,
    Processing,
    RateLimitHit,
    Healthcheck,
    GoogleNoDatasource,
    Other,
}

impl Kind {
    pub const ALL: [Kind; 27] = [
        Kind::Auth,
        Kind::AuthCancelled,
        Kind::UserReauth,
        Kind::Deauth,
        Kind::AccessRevoked,
        Kind::ConnectionError,
        Kind::PermissionChange,
        Kind::Activity,
        Kind::Sleep,
        Kind::Daily,
        Kind::Body,
        Kind::Nutrition,
        Kind::Menstruation,
        Kind::Athlete,
        Kind::PlannedWorkout,
        Kind::Hormone,
        Kind::HealthObservation,
        Kind::LabReportCompleted,
        Kind::LabReportFailed,
        Kind::LargeRequestProcessing,
        Kind::LargeRequestSending,
        Kind::S3Payload,
        Kind::Processing,
        Kind::RateLimitHit,
        Kind::Healthcheck,
        Kind::GoogleNoDatasource,
        Kind::Other,
    ];

    /// Reads the `type` of a body, exactly as Terra spells it.
    ///
    /// The storage event has two names: the schema's value is `s3_payload`, its key and the older pages say
    /// `s3_upload`. A bare `lab_report` is the older form of a report; whether it failed is in its body.
    pub fn parse(name: &str) -> Kind {
        match name {
            "s3_upload" => Kind::S3Payload,
            "lab_report" => Kind::LabReportCompleted,
            _ => Kind::ALL.into_iter().find(|kind| kind.label() == name).unwrap_or(Kind::Other),
        }
    }

    /// Terra's name of the event, or `other`: a small closed set, fit for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Auth => "auth",
            Kind::AuthCancelled => "auth_cancelled",
            Kind::UserReauth => "user_reauth",
            Kind::Deauth => "deauth",
            Kind::AccessRevoked => "access_revoked",
            Kind::ConnectionError => "connection_error",
            Kind::PermissionChange => "permission_change",
            Kind::Activity => "activity",
            Kind::Sleep => "sleep",
            Kind::Daily => "daily",
            Kind::Body => "body",
            Kind::Nutrition => "nutrition",
            Kind::Menstruation => "menstruation",
            Kind::Athlete => "athlete",
            Kind::PlannedWorkout => "planned_workout",
            Kind::Hormone => "hormone",
            Kind::HealthObservation => "health_observation",
            Kind::LabReportCompleted => "lab_report.completed",
            Kind::LabReportFailed => "lab_report.failed",
            Kind::LargeRequestProcessing => "large_request_processing",
            Kind::LargeRequestSending => "large_request_sending",
            Kind::S3Payload => "s3_payload",
            Kind::Processing => "processing",
            Kind::RateLimitHit => "rate_limit_hit",
            Kind::Healthcheck => "healthcheck",
            Kind::GoogleNoDatasource => "google_no_datasource",
            Kind::Other => "other",
        }
    }

    /// True of the events that change who is connected, or try to.
    pub fn is_lifecycle(self) -> bool {
        match self {
            Kind::Auth
            | Kind::AuthCancelled
            | Kind::UserReauth
            | Kind::Deauth
            | Kind::AccessRevoked
            | Kind::ConnectionError
            | Kind::PermissionChange => true,
            Kind::Activity
            | Kind::Sleep
            | Kind::Daily
            | Kind::Body
            | Kind::Nutrition
            | Kind::Menstruation
            | Kind::Athlete
            | Kind::PlannedWorkout
            | Kind::Hormone
            | Kind::HealthObservation
            | Kind::LabReportCompleted
            | Kind::LabReportFailed
            | Kind::LargeRequestProcessing
            | Kind::LargeRequestSending
            | Kind::S3Payload
            | Kind::Processing
            | Kind::RateLimitHit
            | Kind::Healthcheck
            | Kind::GoogleNoDatasource
            | Kind::Other => false,
        }
    }

    /// The kind of record that a data event carries; `None` for every other event.
    pub fn data_kind(self) -> Option<DataKind> {
        let kind = if self == Kind::LabReportFailed { Kind::LabReportCompleted } else { self };
        DataKind::ALL.into_iter().find(|data_kind| data_kind.kind() == kind)
    }
}

/// The kinds of record. Each is an event; all but the last four can also be asked for, at the endpoint of their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    Activity,
    Sleep,
    Daily,
    Body,
    Nutrition,
    Menstruation,
    Athlete,
    PlannedWorkout,
    Hormone,
    HealthObservation,
    LabReport,
}

impl DataKind {
    pub const ALL: [DataKind; 11] = [
        DataKind::Activity,
        DataKind::Sleep,
        DataKind::Daily,
        DataKind::Body,
        DataKind::Nutrition,
        DataKind::Menstruation,
        DataKind::Athlete,
        DataKind::PlannedWorkout,
        DataKind::Hormone,
        DataKind::HealthObservation,
        DataKind::LabReport,
    ];

    /// The event that carries it; of a lab report the one of success.
    pub fn kind(self) -> Kind {
        match self {
            DataKind::Activity => Kind::Activity,
            DataKind::Sleep => Kind::Sleep,
            DataKind::Daily => Kind::Daily,
            DataKind::Body => Kind::Body,
            DataKind::Nutrition => Kind::Nutrition,
            DataKind::Menstruation => Kind::Menstruation,
            DataKind::Athlete => Kind::Athlete,
            DataKind::PlannedWorkout => Kind::PlannedWorkout,
            DataKind::Hormone => Kind::Hormone,
            DataKind::HealthObservation => Kind::HealthObservation,
            DataKind::LabReport => Kind::LabReportCompleted,
        }
    }

    /// Terra's name of the kind, as in `type` and in paths; a lab report's without its outcome.
    pub fn label(self) -> &'static str {
        match self {
            DataKind::LabReport => "lab_report",
            DataKind::Activity
            | DataKind::Sleep
            | DataKind::Daily
            | DataKind::Body
            | DataKind::Nutrition
            | DataKind::Menstruation
            | DataKind::Athlete
            | DataKind::PlannedWorkout
            | DataKind::Hormone
            | DataKind::HealthObservation => self.kind().label(),
        }
    }

    pub fn parse(label: &str) -> Option<DataKind> {
        DataKind::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_parses_back_to_its_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.label()), kind);
        }
        for kind in DataKind::ALL {
            assert_eq!(DataKind::parse(kind.label()), Some(kind));
            assert_eq!(kind.kind().data_kind(), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.label()));
        }
    }

    #[test]
    fn all_lists_each_kind_once_and_in_order() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a < b));
        assert_eq!(Kind::ALL.len(), Kind::Other as usize + 1);
        assert_eq!(DataKind::ALL.len(), DataKind::LabReport as usize + 1);
    }

    #[test]
    fn aliases_and_strangers_are_understood() {
        assert_eq!(Kind::parse("s3_upload"), Kind::S3Payload);
        assert_eq!(Kind::parse("lab_report"), Kind::LabReportCompleted);
        for name in ["", "Auth", "route", "coach.registered", "auth\0"] {
            assert_eq!(Kind::parse(name), Kind::Other, "{name:?}");
        }
    }

    #[test]
    fn lifecycle_and_data_events_do_not_overlap() {
        assert_eq!(Kind::ALL.into_iter().filter(|kind| kind.is_lifecycle()).count(), 7);
        assert!(Kind::ALL.into_iter().all(|kind| !(kind.is_lifecycle() && kind.data_kind().is_some())));
    }
}
