//! Headers that the app sets.

use http::header::{HeaderName, HeaderValue};

/// Converts the name and the value of a header.
///
/// # Panics
/// If one of them is not valid in HTTP. The message does not contain the value, which may be secret.
pub(super) fn header<N, V>(name: N, value: V) -> (HeaderName, HeaderValue)
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    let Ok(name) = name.try_into() else { panic!("the name of a header is invalid; must be a token as in RFC 9110") };
    let Ok(value) = value.try_into() else {
        panic!("the value of the header {name} is invalid; must contain no control characters");
    };
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_converted_from_text_numbers_and_typed_values() {
        let expected = (http::header::RETRY_AFTER, HeaderValue::from_static("5"));
        assert_eq!(header("Retry-After", 5), expected);
        assert_eq!(header(http::header::RETRY_AFTER, "5".to_owned()), expected);
    }

    #[test]
    #[should_panic(expected = "the value of the header x-a is invalid; must contain no control characters")]
    fn line_break_in_a_value_panics() {
        header("x-a", "secret\r\nx-b: 1");
    }

    #[test]
    #[should_panic(expected = "the name of a header is invalid")]
    fn space_in_a_name_panics() {
        header("x a", "1");
    }
}
