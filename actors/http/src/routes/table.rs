use std::cmp::Ordering;
use std::sync::Arc;

use super::MountError;

/// How many routers can be mounted at once.
pub const ROUTES_MAX: usize = 4096;

/// How long a prefix may be.
pub const PREFIX_BYTES_MAX: usize = 256;

/// Values by prefix, none of which lies within another, in order.
#[derive(Clone)]
pub(super) struct Table<T> {
    entries: Vec<(Arc<str>, T)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Whose `path` is: what is mounted at it or above it.
    ///
    /// In the order of `/a/`, `/a/b/`, with a slash behind each, whatever lies within a prefix follows
    /// it at once. So the last that is not behind the path is the only one that can have it within.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        let behind = self.entries.partition_point(|(prefix, _)| order(prefix, path).is_le());
        let (prefix, value) = self.entries.get(behind.checked_sub(1)?)?;
        is_within(path, prefix).then_some(value)
    }

    pub(super) fn insert(&mut self, prefix: Arc<str>, value: T) -> Result<(), MountError> {
        let at = self.entries.partition_point(|(other, _)| order(other, &prefix).is_lt());
        let neighbours = [at.checked_sub(1), Some(at)].into_iter().flatten();
        let mut neighbours = neighbours.filter_map(|index| self.entries.get(index));
        if let Some((by, _)) = neighbours.find(|(other, _)| overlap(other, &prefix)) {
            return Err(MountError::Taken { prefix: (*prefix).into(), by: (**by).into() });
        }
        if self.entries.len() >= ROUTES_MAX {
            return Err(MountError::Full { prefix: (*prefix).into() });
        }
        self.entries.insert(at, (prefix, value));
        Ok(())
    }

    /// What was there.
    pub(super) fn replace(&mut self, prefix: &str, value: T) -> Option<T> {
        let at = self.position(prefix)?;
        Some(std::mem::replace(&mut self.entries[at].1, value))
    }

    /// What was there.
    pub(super) fn remove(&mut self, prefix: &str) -> Option<T> {
        Some(self.entries.remove(self.position(prefix)?).1)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.iter().map(|(prefix, _)| prefix)
    }

    fn position(&self, prefix: &str) -> Option<usize> {
        self.entries.binary_search_by(|(other, _)| order(other, prefix)).ok()
    }
}

/// The order of the two with a slash behind each.
fn order(one: &str, other: &str) -> Ordering {
    let slash = || std::iter::once(b'/');
    one.bytes().chain(slash()).cmp(other.bytes().chain(slash()))
}

fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether one lies within the other.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    is_within(one, other) || is_within(other, one)
}

/// Whether it is a prefix at all.
pub(super) fn check(prefix: &str) -> Result<(), MountError> {
    let refused = |why| Err(MountError::NotAPrefix { prefix: prefix.into(), why });
    let Some(segments) = prefix.strip_prefix('/') else {
        return refused("it does not begin with a slash");
    };
    if segments.is_empty() {
        return refused("it is the root, in which the server's own paths lie");
    }
    if prefix.len() > PREFIX_BYTES_MAX {
        return refused("it is longer than 256 bytes");
    }
    for segment in segments.split('/') {
        if segment.is_empty() {
            return refused("it ends in a slash, or has two in a row");
        }
        if [".", ".."].contains(&segment) {
            return refused("clients leave out segments of dots");
        }
        // What needs no escape (RFC 3986), so that there is one way to write it.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !segment.bytes().all(is_plain) {
            return refused("it has other characters than letters, digits, '-', '.', '_' and '~'");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(prefixes: &[&str]) -> Table<String> {
        let mut table = Table::default();
        for prefix in prefixes {
            table.insert((*prefix).into(), (*prefix).into()).unwrap();
        }
        table
    }

    #[test]
    fn a_path_belongs_to_the_prefix_that_it_lies_within() {
        let prefixes = ["/cat", "/catalog", "/catalog-old", "/catalog.v2", "/a/b", "/a/c", "/zoo"];
        let table = table(&prefixes);
        let found = |path: &str| table.find(path).map(String::as_str);
        for prefix in prefixes {
            for rest in ["", "/", "/x", "/x/y/", "/-", "/!"] {
                assert_eq!(found(&format!("{prefix}{rest}")), Some(prefix));
            }
            for rest in ["x", "!", "0"] {
                assert_eq!(found(&format!("{prefix}{rest}")), None);
            }
        }
        for path in ["", "/", "*", "/a", "/a/", "/a/bb", "//cat", "/catalog-", "/zz", "cat"] {
            assert_eq!(found(path), None, "{path:?}");
        }
        assert_eq!(Table::<()>::default().find("/cat"), None);
    }

    #[test]
    fn what_overlaps_is_refused_by_name() {
        let mut table = table(&["/a/b", "/a/b-c", "/shop"]);
        for (prefix, by) in
            [("/a", "/a/b-c"), ("/a/b", "/a/b"), ("/a/b/c", "/a/b"), ("/shop/x/y", "/shop")]
        {
            let refused = table.insert(prefix.into(), String::new()).unwrap_err();
            assert_eq!(refused, MountError::Taken { prefix: prefix.into(), by: by.into() });
        }
        table.insert("/a/bc".into(), String::new()).unwrap();
        table.insert("/shop-2".into(), String::new()).unwrap();
    }

    #[test]
    fn what_was_there_is_handed_back() {
        let mut table = table(&["/a", "/b"]);
        assert_eq!(table.replace("/a", "new".into()).as_deref(), Some("/a"));
        assert_eq!(table.find("/a/x").map(String::as_str), Some("new"));
        assert_eq!(table.remove("/a").as_deref(), Some("new"));
        assert_eq!(table.find("/a"), None);
        assert_eq!(table.remove("/a"), None);
        assert_eq!(table.replace("/a/x", String::new()), None);
    }

    #[test]
    fn only_so_many_can_be_mounted() {
        let mut table = Table::default();
        for number in 0..ROUTES_MAX {
            table.insert(format!("/m{number}").into(), number).unwrap();
        }
        let refused = table.insert("/one-too-many".into(), 0).unwrap_err();
        assert_eq!(refused, MountError::Full { prefix: "/one-too-many".into() });
        assert_eq!(table.find("/m4095/x"), Some(&4095));
    }

    #[test]
    fn what_is_no_prefix_is_told_from_one() {
        for prefix in ["/catalog", "/shop/catalog", "/v1.2/a_b~c-d", "/..a"] {
            assert_eq!(check(prefix), Ok(()));
        }
        let long = format!("/{}", "x".repeat(PREFIX_BYTES_MAX));
        for prefix in [
            "", "/", "catalog", "/a/", "/a//b", "//", "/{id}", "/*rest", "/:id", "/a b", "/ä",
            "/..", "/a/./b", "/a?b", "/a#b", "/%61", &long,
        ] {
            assert!(check(prefix).is_err(), "{prefix:?}");
        }
    }
}
