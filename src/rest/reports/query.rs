//! Query strings as the existing server reads them: a number is what its text begins with, and a text
//! that begins with none counts as absent.

use axum::http::{StatusCode, Uri};

use super::{Refused, refused};

const PAGE_DEFAULT: usize = 20;
const PAGE_MAX: usize = 100;
const FOUND_MAX: usize = 50;
/// Longer than any name in any case; nothing can be found by it.
const TERM_BYTES_MAX: usize = 1_024;

/// The parameters of a request; of several with one name, the first.
pub(super) struct Query(Vec<(String, String)>);

/// Which part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) limit: usize,
    pub(super) offset: u64,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        Self(read.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<i64> {
        leading_number(self.get(name)?)
    }

    /// `limit` and `offset`.
    pub(super) fn page(&self) -> Result<Limits, Refused> {
        let limit = self.limit(PAGE_MAX)?;
        let offset = self.number("offset").unwrap_or(0);
        let offset = u64::try_from(offset).map_err(|_| {
            refused(StatusCode::BAD_REQUEST, "Invalid offset", "Offset must be non-negative")
        })?;
        Ok(Limits { limit, offset })
    }

    /// `limit` of a search.
    pub(super) fn search_limit(&self) -> Result<usize, Refused> {
        self.limit(FOUND_MAX)
    }

    /// `search`.
    pub(super) fn search(&self) -> Result<&str, Refused> {
        let term = self.get("search").filter(|term| !term.is_empty());
        let term = term.ok_or_else(|| {
            let text = "Search query is required";
            refused(StatusCode::BAD_REQUEST, "Missing search parameter", text)
        })?;
        Ok(&term[..term.floor_char_boundary(TERM_BYTES_MAX)])
    }

    fn limit(&self, max: usize) -> Result<usize, Refused> {
        let limit = self.number("limit").filter(|limit| *limit != 0);
        let limit = limit.map_or(Some(PAGE_DEFAULT), |limit| usize::try_from(limit).ok());
        limit.filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
            let text = format!("Limit must be between 1 and {max}");
            refused(StatusCode::BAD_REQUEST, "Invalid limit", text)
        })
    }
}

/// What a text begins with, after blanks: a sign perhaps, and digits. A number too large is the largest.
fn leading_number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return None;
    }
    let number: i64 = digits[..end].parse().unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_a_text_begins_with() {
        for (text, number) in [
            ("12", Some(12)),
            ("12abc", Some(12)),
            (" 7", Some(7)),
            ("-3", Some(-3)),
            ("+3", Some(3)),
            ("1e9", Some(1)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("abc", None),
            ("-", None),
            ("é1", None),
        ] {
            assert_eq!(leading_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_counts_as_absent_and_what_is_out_of_range_is_refused() {
        let page = |query: &str| {
            let uri: Uri = format!("/x?{query}").parse().unwrap();
            Query::of(&uri).page().map_err(|refused| refused.status)
        };
        let limits = |limit, offset| Ok(Limits { limit, offset });
        assert_eq!(page(""), limits(20, 0));
        assert_eq!(page("limit=0&offset=x"), limits(20, 0));
        assert_eq!(page("limit=100&offset=5b"), limits(100, 5));
        assert_eq!(page("limit=3&limit=101"), limits(3, 0));
        for bad in ["limit=101", "limit=-1", "offset=-1", "limit=9999999999999999999999"] {
            assert_eq!(page(bad), Err(StatusCode::BAD_REQUEST), "{bad}");
        }
    }
}
