//! Times as one writes them, and how long something takes.

use std::time::{Duration, Instant};

/// A time such as `90s`, `3m`, `1h` or `500ms`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unclear = || "a time is a number and its unit: 500ms, 90s, 3m, 1h".to_owned();
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(unclear)?;
    let number: u64 = text[..unit].parse().map_err(|_| unclear())?;
    let millis = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(unclear()),
    };
    match number.checked_mul(millis) {
        Some(0) => Err("no time is no time to run anything".to_owned()),
        Some(millis) if millis <= LONGEST_MS => Ok(Duration::from_millis(millis)),
        _ => Err("that is more than a year".to_owned()),
    }
}

const LONGEST_MS: u64 = 366 * 24 * 3_600_000;

/// The time of the one who waits.
#[allow(
    clippy::disallowed_methods,
    reason = "how long it took is told to a person; no run sees it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let read = |text| parse(text).map(|time| time.as_millis());
        assert_eq!(
            ["500ms", "90s", "3m", "1h"].map(read),
            [Ok(500), Ok(90_000), Ok(180_000), Ok(3_600_000)]
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "3", "s", "3 m", "-1s", "1.5s", "3d", "0s", "99999999999999999h", "9999999h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
