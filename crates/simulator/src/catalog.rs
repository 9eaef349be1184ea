//! The providers one can connect, and what each of them measures.

use serde_json::{Value, json};

pub(crate) struct Provider {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) maker: &'static str,
    pub(crate) device: &'static str,
    pub(crate) types: &'static [&'static str],
}

const ALL_TYPES: &[&str] = &["activity", "body", "daily", "menstruation", "nutrition", "sleep"];

/// What `/integrations` calls SDK providers: they live on a phone and have no page to log in to.
pub(crate) const SDK_PROVIDERS: &[&str] = &["APPLE", "HEALTH_CONNECT", "SAMSUNG"];

const PROVIDERS: &[Provider] = &[
    Provider {
        code: "GARMIN",
        name: "Garmin",
        maker: "Garmin",
        device: "Forerunner 265",
        types: &["activity", "body", "daily", "menstruation", "sleep"],
    },
    Provider {
        code: "FITBIT",
        name: "Fitbit",
        maker: "Fitbit",
        device: "Charge 6",
        types: &["activity", "body", "daily", "menstruation", "nutrition", "sleep"],
    },
    Provider {
        code: "OURA",
        name: "Oura",
        maker: "Oura",
        device: "Ring 4",
        types: &["activity", "body", "daily", "sleep"],
    },
    Provider {
        code: "WITHINGS",
        name: "Withings",
        maker: "Withings",
        device: "Body Smart",
        types: &["activity", "body", "daily", "sleep"],
    },
    Provider {
        code: "POLAR",
        name: "Polar",
        maker: "Polar",
        device: "Vantage V3",
        types: &["activity", "body", "daily", "sleep"],
    },
    Provider {
        code: "WHOOP",
        name: "WHOOP",
        maker: "WHOOP",
        device: "WHOOP 5.0",
        types: &["activity", "body", "daily", "sleep"],
    },
    Provider {
        code: "SUUNTO",
        name: "Suunto",
        maker: "Suunto",
        device: "Race S",
        types: &["activity", "daily", "sleep"],
    },
    Provider { code: "STRAVA", name: "Strava", maker: "Strava", device: "Strava app", types: &["activity"] },
    Provider { code: "GOOGLE", name: "Google Fit", maker: "Google", device: "Pixel Watch 3", types: ALL_TYPES },
    Provider {
        code: "MYFITNESSPAL",
        name: "MyFitnessPal",
        maker: "MyFitnessPal",
        device: "MyFitnessPal app",
        types: &["nutrition"],
    },
];

/// A provider we do not know measures everything, so that no test is stopped by our list.
const UNKNOWN: Provider = Provider { code: "", name: "", maker: "Unknown", device: "Unknown", types: ALL_TYPES };

pub(crate) fn provider(code: &str) -> &'static Provider {
    PROVIDERS.iter().find(|provider| provider.code == code).unwrap_or(&UNKNOWN)
}

pub(crate) fn display_name(code: &str) -> String {
    let name = provider(code).name;
    if name.is_empty() { code.to_owned() } else { name.to_owned() }
}

pub(crate) fn codes() -> Vec<&'static str> {
    PROVIDERS.iter().map(|provider| provider.code).collect()
}

/// Permissions that a person gives by allowing everything.
pub(crate) fn scopes(code: &str) -> Vec<String> {
    provider(code).types.iter().map(|kind| format!("{kind}:read")).collect()
}

/// One entry of `/integrations/detailed`.
pub(crate) fn detail(code: &str, enabled: bool) -> Value {
    let known = provider(code);
    let types: serde_json::Map<String, Value> =
        ALL_TYPES.iter().map(|kind| ((*kind).to_owned(), Value::Bool(known.types.contains(kind)))).collect();
    json!({
        "provider": code,
        "name": display_name(code),
        "icon": format!("https://static.example/app_icons/{}.webp", code.to_lowercase()),
        "setup": "SELF_SETUP",
        "enabled": enabled,
        "types": types,
    })
}

/// Puts the provider's own device on a record that names one. The generators do not know whose
/// record they make.
pub(crate) fn worn(mut record: Value, code: &str) -> Value {
    let known = provider(code);
    let device = record.get_mut("device_data").and_then(Value::as_object_mut);
    if let Some(device) = device.filter(|_| !known.code.is_empty()) {
        device.insert("manufacturer".to_owned(), json!(known.maker));
        device.insert("name".to_owned(), json!(known.device));
    }
    record
}
