//! Durations and sizes as an operator writes them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with its unit: `200ms`, `5s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A number of bytes, with or without a unit: `65536`, `64KiB`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<T>(T);

/// The bounds of a duration's text. Larger values can add up to more than 2^64 seconds, for which humantime panics.
const MAX_TIME_LEN: usize = 100;
const MAX_DIGITS: usize = 9;

/// The placeholder of a value in the help text.
pub(crate) trait Unit {
    const NAME: &'static str;
}

impl Unit for usize {
    const NAME: &'static str = "N";
}

impl Unit for u32 {
    const NAME: &'static str = "N";
}

impl Unit for Time {
    const NAME: &'static str = "TIME";
}

impl<T> Unit for Bytes<T> {
    const NAME: &'static str = "BYTES";
}

impl From<Time> for Duration {
    fn from(Time(time): Time) -> Self {
        time
    }
}

impl From<Bytes<Self>> for usize {
    fn from(Bytes(count): Bytes<Self>) -> Self {
        count
    }
}

impl From<Bytes<Self>> for u32 {
    fn from(Bytes(count): Bytes<Self>) -> Self {
        count
    }
}

impl Time {
    pub(crate) const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

impl<T> Bytes<T> {
    pub(crate) const fn new(count: T) -> Self {
        Self(count)
    }
}

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        if text.len() > MAX_TIME_LEN || numbers.any(|digits| digits.len() > MAX_DIGITS) {
            return Err(UnitError::LongTime);
        }
        Ok(Self(humantime::parse_duration(text)?))
    }
}

impl<T: TryFrom<u64>> FromStr for Bytes<T> {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(UnitError::Size),
        };
        if digits.is_empty() {
            return Err(UnitError::Size);
        }
        let count = digits.parse().ok().and_then(|count: u64| count.checked_mul(factor));
        count.and_then(|count| T::try_from(count).ok()).map(Self).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<T: Copy + TryInto<u64>> Bytes<T> {
    /// Returns the number in the largest unit that represents it exactly.
    fn parts(self) -> (u64, &'static str) {
        // No number of bytes exceeds 64 bits.
        let count = self.0.try_into().unwrap_or(u64::MAX);
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.into_iter().find(|(bits, _)| count != 0 && count.trailing_zeros() >= *bits);
        whole.map_or((count, ""), |(bits, unit)| (count >> bits, unit))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<T: Copy + TryInto<u64>> Serialize for Bytes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.parts() {
            (count, "") => serializer.serialize_u64(count),
            (count, unit) => serializer.collect_str(&format_args!("{count}{unit}")),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"5s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TimeVisitor)
    }
}

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Bytes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor<T>(PhantomData<T>);

        impl<T: TryFrom<u64>> Visitor<'_> for BytesVisitor<T> {
            type Value = Bytes<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, such as 65536 or \"64KiB\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Bytes<T>, E> {
                match u64::try_from(number) {
                    Ok(count) => self.visit_u64(count),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes<T>, E> {
                let count = T::try_from(number);
                count.map(Bytes).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes<T>, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(BytesVisitor(PhantomData))
    }
}

/// Why a text is not a valid duration or size.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("{0}; must be a duration such as 200ms, 5s or 1m 30s")]
    Time(#[from] humantime::DurationError),
    #[error("duration too long; must have at most {MAX_DIGITS} consecutive digits and {MAX_TIME_LEN} characters")]
    LongTime,
    #[error("invalid size; must be a number of bytes such as 65536, 64KiB or 1MiB")]
    Size,
    #[error("size too large")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_parse_with_or_without_a_unit() {
        for (text, count) in [("0", 0), ("65537", 65_537), ("12B", 12), ("64KiB", 65_536), ("1 MiB", 1 << 20)] {
            assert_eq!(text.parse::<Bytes<u32>>().expect(text), Bytes(count));
        }
        for invalid in ["", "KiB", "-1", "1.5MiB", "64kb", "0x10", "4GiB", "99999999999999999999"] {
            assert!(invalid.parse::<Bytes<u32>>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn times_parse_with_a_unit_and_below_a_maximum() {
        for (text, millis) in [("200ms", 200), ("5s", 5000), ("1m 30s", 90_000), ("999999999ms", 999_999_999)] {
            assert_eq!(text.parse::<Time>().expect(text), Time(Duration::from_millis(millis)));
        }
        let long = "999999999y ".repeat(600);
        for invalid in ["", "5", "s", "-5s", "1.5.5s", "1000000000s", "18446744073709551615s 999ms 1ms", &long] {
            assert!(invalid.parse::<Time>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn printed_values_parse_to_the_same_values() {
        for count in [0, 1, 1023, 4096, 65_537, 32 << 20, 1 << 30] {
            let (number, unit) = Bytes::<u32>(count).parts();
            assert_eq!(format!("{number}{unit}").parse::<Bytes<u32>>().expect("a size"), Bytes(count));
        }
        for millis in [1, 200, 1500, 60_000, 90_000] {
            let time = Time(Duration::from_millis(millis));
            assert_eq!(time.to_string().parse::<Time>().expect("a duration"), time);
        }
    }
}
