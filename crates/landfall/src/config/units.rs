//! Sizes and durations as people write them.

use std::time::Duration;

use domain::fetch::{Budget, DAYS_PER_REQUEST_MAX};

/// `64KiB`, `64 MiB`, `1GB`, `4096`: bytes.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text)?;
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("`{text}` is no size: write it like 64KiB or 16MiB")),
    };
    Ok((number * factor) as usize)
}

/// What a lane holds: room for more than one delivery, or every other would be refused.
pub(crate) fn lane_bytes(text: &str) -> Result<u64, String> {
    const MIN: usize = 1_024 * 1_024;
    let bytes = bytes(text)?;
    if bytes < MIN {
        return Err(format!("`{text}` is too little for a lane of the queue: 1MiB is the least"));
    }
    Ok(bytes as u64)
}

/// `500ms`, `5m`, `14d`: a duration. A bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds: f64 = match unit.to_ascii_lowercase().as_str() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(format!("`{text}` is no duration: write it like 30s, 5m, 48h or 14d")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is too long a duration"))
}

/// `6000/1h`: days per rolling time.
pub(crate) fn budget(text: &str) -> Result<Budget, String> {
    let wrong = || format!("`{text}` is no budget: write it like 6000/1h");
    let (days, window) = text.split_once('/').ok_or_else(wrong)?;
    let days = days
        .trim()
        .parse()
        .ok()
        .filter(|days| *days >= DAYS_PER_REQUEST_MAX)
        .ok_or_else(|| format!("`{text}`: at least {DAYS_PER_REQUEST_MAX} days, which one request may ask for"))?;
    let window = duration(window)?;
    if window.is_zero() { Err(wrong()) } else { Ok(Budget { days, window }) }
}

fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    Ok((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_as_people_write_them() {
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1 MB"), Ok(1_000_000));
        assert_eq!(bytes("12"), Ok(12));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(budget("6000/1h"), Ok(Budget { days: 6_000, window: Duration::from_secs(3_600) }));
        assert!(budget("6000").is_err() && budget("100/1h").is_err() && budget("6000/0s").is_err());
        assert!(bytes("lots").is_err() && duration("5 fortnights").is_err());
    }
}
