//! Pages of lists: `maxResults`, `nextToken`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::ApiError;
use super::ids::Ids;
use crate::stdx::Timestamp;

/// Items of a page if the request names no number, or 0.
pub(crate) const PAGE_DEFAULT: usize = 100;

/// Most items of a page.
pub(crate) const PAGE_MAX: i64 = 1_000;

/// How long a token is good for: a day.
const TOKEN_MILLIS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// A token that says where the next page of a list begins. `list` is what the list is of: another one refuses it.
pub(crate) fn token(ids: &Ids, list: &str, position: &str, now: Timestamp) -> String {
    let text = format!("{}|{position}", now.millis());
    let seal = ids.seal(&format!("{list}|{text}"));
    URL_SAFE_NO_PAD.encode(format!("{seal:016x}|{text}"))
}

/// The position in a token.
pub(crate) fn position(
    ids: &Ids,
    list: &str,
    token: &str,
    now: Timestamp,
) -> Result<String, ApiError> {
    let read = || -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let decoded = String::from_utf8(bytes).ok()?;
        let (seal, text) = decoded.split_once('|')?;
        if seal != format!("{:016x}", ids.seal(&format!("{list}|{text}"))) {
            return None;
        }
        let (made, position) = text.split_once('|')?;
        let age = now.millis().saturating_sub(made.parse::<i64>().ok()?);
        (age <= TOKEN_MILLIS_MAX).then(|| position.to_owned())
    };
    read().ok_or_else(ApiError::invalid_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let ids = Ids::new();
        let now = Timestamp::from_millis(1_000_000);
        let made = token(&ids, "a", "x|y", now);
        assert_eq!(position(&ids, "a", &made, now).unwrap(), "x|y");
        let later = now.plus_millis(TOKEN_MILLIS_MAX);
        assert_eq!(position(&ids, "a", &made, later).unwrap(), "x|y");
        let refused = Err(ApiError::invalid_token());
        assert_eq!(position(&ids, "a", &made, later.plus_millis(1)), refused);
        assert_eq!(position(&ids, "b", &made, now), refused);
        assert_eq!(position(&Ids::new(), "a", &made, now), refused);
        assert_eq!(position(&ids, "a", "", now), refused);
        assert_eq!(position(&ids, "a", &made[1..], now), refused);
    }
}
