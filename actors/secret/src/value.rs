/// An error of serde's without the value that it complains of, which may be a secret in a place where none was
/// expected: a password where a table should be, say. What is left is what it is and what was expected.
///
/// ```
/// use umbel_secret::without_value;
///
/// let why = serde_json::from_str::<u8>("\"open sesame\"").unwrap_err().to_string();
/// assert_eq!(why, "invalid type: string \"open sesame\", expected u8 at line 1 column 13");
/// assert_eq!(without_value(&why), "invalid type: string, expected u8 at line 1 column 13");
/// ```
#[must_use]
pub fn without_value(why: &str) -> String {
    let begin = ["invalid type: ", "invalid value: "];
    let Some(begin) = begin.iter().filter_map(|begin| Some(why.find(begin)? + begin.len())).min()
    else {
        return why.to_owned();
    };
    let (before, rest) = why.split_at(begin);
    // The last: the value may have these words, too.
    let expected = rest.rfind(", expected ").unwrap_or(rest.len());
    let (complaint, expected) = rest.split_at(expected);
    let kind = complaint.find(['`', '"', '\'']).map_or(complaint, |value| &complaint[..value]);
    format!("{before}{}{expected}", kind.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::without_value;

    #[test]
    fn what_has_no_value_stays_as_it_is() {
        for why in [
            "unknown field `a`, expected `b`",
            "invalid type: map, expected a duration as text, such as \"30s\"",
            "a.b: invalid type: sequence, expected a table",
            "",
        ] {
            assert_eq!(without_value(why), why);
        }
    }

    #[test]
    fn of_a_value_its_kind_is_left() {
        for (why, left) in [
            (
                "invalid type: integer `10`, expected a text",
                "invalid type: integer, expected a text",
            ),
            ("a: invalid type: string \"x\", expected y", "a: invalid type: string, expected y"),
            ("invalid value: string \"x\"", "invalid value: string"),
        ] {
            assert_eq!(without_value(why), left);
        }
    }

    proptest! {
        #[test]
        fn no_value_is_left(value in ".*", kind in "invalid (type|value): ") {
            // Something to be found by, which is in no text of ours.
            let value = format!("{value}\u{2603}{kind}, expected {value}\u{2603}");
            let why = format!("a.b: {kind}string {value:?}, expected a table");
            prop_assert_eq!(without_value(&why), format!("a.b: {kind}string, expected a table"));
        }
    }
}
