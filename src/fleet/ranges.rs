//! Host names with ranges in them, as cluster tools write them: `node[01-16]`, `rack[1-2]-node[01,03,07-09]`.
//!
//! [`expand`] gives the names in the order in which they are written, [`fold`] goes back, for messages. Brackets that
//! hold a colon are an IPv6 address and no range. Nothing here knows what a host is.

use std::collections::{BTreeSet, HashMap, HashSet};

/// The most names that one expression may give: above it, a slip of the finger is likelier than a fleet.
pub const NAMES_MAX: usize = 100_000;

/// The longest run of digits that counts as a number: every such run fits a `u64`.
const DIGITS_MAX: usize = 18;

/// All names of an expression, the last range counting fastest. Zero padding is kept: `[08-10]` gives `08 09 10`.
///
/// # Errors
/// A sentence that says what is wrong in the brackets, or that there would be more than [`NAMES_MAX`] names.
pub fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    for piece in pieces(text)? {
        let choices = match piece {
            Piece::Text(text) => vec![text.to_owned()],
            Piece::Range(range) => choices(range)?,
        };
        if names.len().saturating_mul(choices.len()) > NAMES_MAX {
            return Err(too_many(text));
        }
        names = names.iter().flat_map(|name| choices.iter().map(move |choice| format!("{name}{choice}"))).collect();
    }
    Ok(names)
}

/// The pieces between the commas that stand outside brackets, trimmed, without empty ones.
pub fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}

/// Names in short, as an expression that [`expand`] understands between commas: `node[01-03,07],gpu`. Names that differ
/// in no number stay as they are; names given twice are shown once.
pub fn fold<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut seen = HashSet::new();
    let mut rows: Vec<_> = names.into_iter().map(|name| parts(name.as_ref())).collect();
    rows.retain(|row| seen.insert(row.clone()));
    // Numbers stand at the odd places. The last one first, since that is the one that counts within a rack.
    let last = rows.iter().map(Vec::len).max().unwrap_or(0);
    for place in (1..last).step_by(2).rev() {
        rows = fold_at(place, rows);
    }
    rows.iter().map(|row| row.concat()).collect::<Vec<_>>().join(",")
}

/// The numbers at one place of a name, with their digits as written.
type Numbers = BTreeSet<(u64, String)>;

enum Piece<'a> {
    Text(&'a str),
    Range(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, behind) = after.split_once(']').ok_or_else(|| format!("`{text}`: a `]` is missing"))?;
        if inside.contains(':') {
            pieces.push(Piece::Text(&rest[..before.len() + inside.len() + 2]));
        } else {
            pieces.extend([Piece::Text(before), Piece::Range(inside)]);
        }
        rest = behind;
    }
    if rest.contains(']') {
        return Err(format!("`{text}`: a `[` is missing"));
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn choices(range: &str) -> Result<Vec<String>, String> {
    let mut choices = Vec::new();
    for item in range.split(',').map(str::trim) {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = number(low).zip(number(high)).ok_or_else(|| {
            format!("`[{range}]` is no range: numbers such as `[1-16]` or `[01,03,07-09]` are expected")
        })?;
        if (is_padded(low) || is_padded(high)) && low.len() != high.len() {
            return Err(format!("`[{range}]`: both ends of `{item}` must have the same number of digits"));
        }
        if last < first {
            return Err(format!("`[{range}]`: `{item}` runs backwards"));
        }
        if last - first >= (NAMES_MAX - choices.len()) as u64 {
            return Err(too_many(&format!("[{range}]")));
        }
        choices.extend((first..=last).map(|number| format!("{number:0width$}", width = low.len())));
    }
    Ok(choices)
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn is_padded(digits: &str) -> bool {
    digits.starts_with('0') && digits.len() > 1
}

/// Whether a range from `low` would write its later number as `digits`.
fn continues(low: &str, digits: &str) -> bool {
    low.len() == digits.len() || !(is_padded(low) || is_padded(digits))
}

fn too_many(text: &str) -> String {
    format!("`{text}` gives more than {NAMES_MAX} names")
}

/// Text and numbers by turns, text first. A name with an IPv6 address in it is one piece of text: its digits may be
/// hexadecimal, and the brackets would not nest.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    if name.contains(['[', ']', ',']) || name.matches(':').count() > 1 {
        return vec![name.to_owned()];
    }
    for c in name.chars() {
        let in_number = parts.len().is_multiple_of(2);
        if c.is_ascii_digit() != in_number {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// Rows that are equal but for the number at `place` become one, which stands where the first of them stood.
fn fold_at(place: usize, rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut folded: Vec<(Vec<String>, Numbers)> = Vec::new();
    let mut place_of: HashMap<Vec<String>, usize> = HashMap::new();
    for mut row in rows {
        let Some(number) = row.get(place).and_then(|digits| number(digits)) else {
            folded.push((row, Numbers::new()));
            continue;
        };
        let digits = std::mem::take(&mut row[place]);
        let at = *place_of.entry(row.clone()).or_insert(folded.len());
        if at == folded.len() {
            folded.push((row, Numbers::new()));
        }
        folded[at].1.insert((number, digits));
    }
    for (row, numbers) in &mut folded {
        if !numbers.is_empty() {
            row[place] = brackets(numbers);
        }
    }
    folded.into_iter().map(|(row, _)| row).collect()
}

/// `7` for one number, else `[01-03,07]`. A run goes on as long as [`expand`] would write the next number this way.
fn brackets(numbers: &Numbers) -> String {
    let mut runs: Vec<(&str, &str, u64)> = Vec::new();
    for (number, digits) in numbers {
        match runs.last_mut() {
            Some((low, high, last)) if *number == *last + 1 && continues(low, digits) => {
                (*high, *last) = (digits, *number);
            }
            _ => runs.push((digits, digits, *number)),
        }
    }
    let texts: Vec<String> = runs
        .iter()
        .map(|(low, high, _)| if low == high { (*low).to_owned() } else { format!("{low}-{high}") })
        .collect();
    if numbers.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_expand_in_order() {
        let check = |text: &str, names: &str| assert_eq!(expand(text).expect(text).join(" "), names, "{text}");
        check("node", "node");
        check("node[01-03]", "node01 node02 node03");
        check("node[8-11]", "node8 node9 node10 node11");
        check("node[08-10].lan", "node08.lan node09.lan node10.lan");
        check(
            "rack[1-2]-n[01,03,07-08]",
            "rack1-n01 rack1-n03 rack1-n07 rack1-n08 rack2-n01 rack2-n03 rack2-n07 rack2-n08",
        );
        check("10.0.[0-1].[7, 9]", "10.0.0.7 10.0.0.9 10.0.1.7 10.0.1.9");
        check("n[3]", "n3");
        check("[0]", "0");
        check("[fe80::1]:22", "[fe80::1]:22");
        check("[fe80::1][1-2]", "[fe80::1]1 [fe80::1]2");
    }

    #[test]
    fn what_is_no_range_is_said() {
        let check = |text: &str, part: &str| {
            let error = expand(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        check("node[", "`]` is missing");
        check("node]1", "`[` is missing");
        check("node[]", "is no range");
        check("node[1-]", "is no range");
        check("node[a-c]", "is no range");
        check("node[1--2]", "is no range");
        check("node[+1-2]", "is no range");
        check("node[1-9999999999999999999]", "is no range");
        check("node[5-1]", "runs backwards");
        check("node[1-016]", "same number of digits");
        check("node[01-100]", "same number of digits");
        check("node[0-100000]", "more than 100000");
        check("node[1-99999,1-9]", "more than 100000");
        check("r[1-1000]n[1-1000]", "more than 100000");
        assert_eq!(expand("node[1-100000]").expect("at the bound").len(), NAMES_MAX);
    }

    #[test]
    fn commas_in_brackets_do_not_split() {
        let check = |text: &str, items: &[&str]| assert_eq!(split_list(text).collect::<Vec<_>>(), items, "{text}");
        check("a,b", &["a", "b"]);
        check(" a , n[1,3-4] ,,", &["a", "n[1,3-4]"]);
        check("", &[]);
        check("a],b", &["a]", "b"]);
    }

    #[test]
    fn names_fold_where_they_differ_in_numbers() {
        let check = |names: &str, folded: &str| assert_eq!(fold(names.split(' ')), folded, "{names}");
        check("node01 node02 node03 node07", "node[01-03,07]");
        check("node07 gpu node01", "node[01,07],gpu");
        check("node9 node10 node11", "node[9-11]");
        check("n08 n09 n10", "n[08-10]");
        check("n1 n01", "n[01,1]");
        check("n0 n1 n02", "n[0-1,02]");
        check("n99 n100 n098", "n[098,99-100]");
        check("a1 b2", "a1,b2");
        check("a1 a1 a2", "a[1-2]");
        check("node1.c2.org node2.c2.org", "node[1-2].c2.org");
        check("r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]");
        check("r1n1 r1n2 r2n1", "r1n[1-2],r2n1");
        check("h:2201 h:2202", "h:[2201-2202]");
        check("[::1]:22 [::2]:22 fe80::1 fe80::2", "[::1]:22,[::2]:22,fe80::1,fe80::2");
        check("x1234567890123456789 x1234567890123456780", "x1234567890123456789,x1234567890123456780");
        assert_eq!(fold(Vec::<String>::new()), "");
    }

    proptest! {
        #[test]
        fn folding_loses_and_invents_no_name(
            names in prop::collection::vec("[ab]{0,1}[0-9]{1,2}(-[c]{0,1}[01]{0,3}){0,2}", 0..30)
        ) {
            let expected: BTreeSet<String> = names.iter().cloned().collect();
            let folded = fold(&names);
            let back: Vec<String> = split_list(&folded).flat_map(|item| expand(item).expect("a range")).collect();
            prop_assert_eq!(back.len(), expected.len(), "{}", folded);
            prop_assert_eq!(back.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}
