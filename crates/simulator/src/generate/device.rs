//! The thing that measured.

use serde_json::{Value, json};

use crate::dice::Dice;

const MODELS: [(&str, &str, &str); 5] = [
    ("Garmin", "Forerunner 265", "19.18"),
    ("Fitbit", "Charge 6", "2.11.77"),
    ("Oura", "Ring 4", "3.4.1"),
    ("Polar", "Vantage V3", "2.0.32"),
    ("Withings", "ScanWatch 2", "1.9.0"),
];

/// One user wears one device.
pub(crate) fn device(seed: u64, user_id: &str) -> Value {
    let mut dice = Dice::of(seed, &["device", user_id]);
    let (manufacturer, name, software_version) = *dice.pick(&MODELS);
    json!({
        "manufacturer": manufacturer,
        "name": name,
        "software_version": software_version,
        "hardware_version": null,
        "serial_number": format!("{:010X}", dice.bits() >> 24),
        "data_provided": ["STEPS", "HEART_RATE", "DISTANCE", "CALORIES"],
        "other_devices": [],
        "activation_timestamp": null,
        "last_upload_date": null,
    })
}
