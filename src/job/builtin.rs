//! The jobs that need no program: their names, what each needs, and what each does in map, combine and reduce.
//!
//! The work itself is done in the worker; this is the table that the command line lists and resolves names by.

use std::fmt;

use crate::error::{Fault, did_you_mean};
use crate::job::spec::{Builtin, Step};
use crate::shuffle::record::KeyRule;

/// How many lines `top` gives when nobody says.
const TOP_COUNT: u64 = 10;

/// A built-in job, as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// As typed after `runner mapreduce`.
    pub name: &'static str,
    /// What comes out, in a line.
    pub about: &'static str,
    /// What must be said.
    pub needs: &'static [Choice],
    /// What may be said.
    pub takes: &'static [Choice],
    template: fn(&Options) -> Template,
}

/// Something to be said about a built-in job: a flag on the command line, a key in a job file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The regular expression of `grep`.
    Pattern,
    /// How many lines `top` gives.
    Count,
    /// The other input of `join`.
    With,
}

/// Every built-in job, in the order in which it is listed.
pub const BUILTINS: [Listed; 7] = [
    Listed {
        name: "wordcount",
        about: "how often each word occurs: word<TAB>count",
        needs: &[],
        takes: &[],
        template: wordcount,
    },
    Listed {
        name: "grep",
        about: "the lines that match a regular expression, in input order",
        needs: &[Choice::Pattern],
        takes: &[],
        template: grep,
    },
    Listed {
        name: "sort",
        about: "all lines in bytewise order, over all parts",
        needs: &[],
        takes: &[],
        template: sort,
    },
    Listed { name: "distinct", about: "every different line once", needs: &[], takes: &[], template: distinct },
    Listed {
        name: "sum",
        about: "the exact sum of the numbers of each key, of lines key<TAB>number",
        needs: &[],
        takes: &[],
        template: sum,
    },
    Listed {
        name: "top",
        about: "the lines with the largest numbers, of lines key<TAB>number",
        needs: &[],
        takes: &[Choice::Count],
        template: top,
    },
    Listed {
        name: "join",
        about: "every pair of values of each key that two inputs share",
        needs: &[Choice::With],
        takes: &[],
        template: join,
    },
];

/// What was said about a built-in job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// In the syntax of the `regex` crate.
    pub pattern: Option<String>,
    /// More than 0.
    pub count: Option<u64>,
    /// Paths, in the words of any input.
    pub with: Vec<String>,
}

/// What a built-in job does; the rest of the job is as for any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Run on each split.
    pub map: Step,
    /// Folds a map attempt's sorted output.
    pub combine: Option<Step>,
    /// Run on each partition.
    pub reduce: Step,
    /// What the key of an intermediate line is; none where the job's format decides.
    pub key: Option<KeyRule>,
    /// How many reduces there are, and who gets which key.
    pub shape: Shape,
    /// An input beside the job's own; empty for none.
    pub other_input: Vec<String>,
}

/// How the keys of a job are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// There is no reduce: a part of the output for each split.
    MapOnly,
    /// By hash, over as many reduces as the job has.
    Hashed,
    /// By range, over as many reduces as the job has: the parts in order are sorted as a whole.
    Ranged,
    /// One reduce sees everything.
    OneReduce,
}

/// The built-in job of that name.
///
/// # Errors
/// A [`Fault`] of kind usage that names the nearest one.
pub fn find(name: &str) -> Result<&'static Listed, Fault> {
    BUILTINS.iter().find(|listed| listed.name == name).ok_or_else(|| {
        let names = BUILTINS.map(|listed| listed.name);
        let hint = did_you_mean(name, names);
        Fault::usage(format!("no built-in job `{name}`{hint}: one of {} is expected", names.join(", ")))
    })
}

/// What the built-in job of that name does with these options.
///
/// # Errors
/// A [`Fault`] of kind usage: no such job; an option missing, malformed, or one that the job does not take.
pub fn resolve(name: &str, options: &Options) -> Result<Template, Fault> {
    let listed = find(name)?;
    check(listed, options)?;
    Ok((listed.template)(options))
}

impl Choice {
    /// As on the command line.
    pub fn flag(self) -> &'static str {
        match self {
            Choice::Pattern => "--pattern REGEX",
            Choice::Count => "--count N",
            Choice::With => "--with INPUT",
        }
    }

    /// As in a job file.
    pub fn key(self) -> &'static str {
        match self {
            Choice::Pattern => "pattern",
            Choice::Count => "count",
            Choice::With => "with",
        }
    }

    fn is_said(self, options: &Options) -> bool {
        match self {
            Choice::Pattern => options.pattern.is_some(),
            Choice::Count => options.count.is_some(),
            Choice::With => !options.with.is_empty(),
        }
    }
}

impl fmt::Display for Listed {
    /// A line of `runner mapreduce --list`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {}", self.name, self.about)?;
        self.needs.iter().try_for_each(|choice| write!(f, "; {}", choice.flag()))?;
        self.takes.iter().try_for_each(|choice| write!(f, "; [{}]", choice.flag()))
    }
}

fn wordcount(_: &Options) -> Template {
    let sum = Step::Builtin(Builtin::Sum);
    // What is counted is written with a tab, whatever the input's format.
    template(Step::Builtin(Builtin::WordCount), Some(sum.clone()), sum).keyed(KeyRule::default())
}

fn grep(options: &Options) -> Template {
    let pattern = options.pattern.clone().unwrap_or_default();
    template(Step::Builtin(Builtin::Grep { pattern }), None, Step::Identity).shaped(Shape::MapOnly)
}

fn sort(_: &Options) -> Template {
    template(Step::Identity, None, Step::Identity).keyed(KeyRule::Line).shaped(Shape::Ranged)
}

fn distinct(_: &Options) -> Template {
    let distinct = Step::Builtin(Builtin::Distinct);
    template(Step::Identity, Some(distinct.clone()), distinct).keyed(KeyRule::Line)
}

fn sum(_: &Options) -> Template {
    let sum = Step::Builtin(Builtin::Sum);
    template(Step::Identity, Some(sum.clone()), sum)
}

/// Each split gives its own largest lines, so that little is left for the one reduce.
fn top(options: &Options) -> Template {
    let top = Step::Builtin(Builtin::Top { count: options.count.unwrap_or(TOP_COUNT) });
    template(top.clone(), None, top).shaped(Shape::OneReduce)
}

fn join(options: &Options) -> Template {
    let join = Step::Builtin(Builtin::Join);
    Template { other_input: options.with.clone(), ..template(join.clone(), None, join) }
}

fn template(map: Step, combine: Option<Step>, reduce: Step) -> Template {
    Template { map, combine, reduce, key: None, shape: Shape::Hashed, other_input: Vec::new() }
}

impl Template {
    fn keyed(self, key: KeyRule) -> Self {
        Template { key: Some(key), ..self }
    }

    fn shaped(self, shape: Shape) -> Self {
        Template { shape, ..self }
    }
}

fn check(listed: &Listed, options: &Options) -> Result<(), Fault> {
    let name = listed.name;
    for choice in [Choice::Pattern, Choice::Count, Choice::With] {
        let (needed, said) = (listed.needs.contains(&choice), choice.is_said(options));
        if needed && !said {
            let (flag, key) = (choice.flag(), choice.key());
            return Err(Fault::usage(format!("`{name}` needs {flag} (in a job file: {key} = \"…\")")));
        }
        if said && !needed && !listed.takes.contains(&choice) {
            return Err(Fault::usage(format!("`{name}` takes no {} (in a job file: {})", choice.flag(), choice.key())));
        }
    }
    if options.count == Some(0) {
        return Err(Fault::usage(format!("`{name}`: --count 0 makes no sense: at least 1 is expected")));
    }
    if let Some(Err(error)) = options.pattern.as_deref().map(regex::bytes::Regex::new) {
        return Err(Fault::usage(format!("`{name}`: malformed --pattern: {error}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        let said = |key: &str| text.split(' ').find_map(|word| word.strip_prefix(key)).map(str::to_owned);
        let count = said("count=").map(|count| count.parse().expect("a number"));
        Options { pattern: said("pattern="), count, with: said("with=").into_iter().collect() }
    }

    #[test]
    fn every_listed_job_resolves() {
        for listed in BUILTINS {
            let said = listed.needs.iter().map(|need| format!("{}=x", need.key())).collect::<Vec<_>>().join(" ");
            assert!(resolve(listed.name, &options(&said)).is_ok(), "{}", listed.name);
        }
    }

    #[test]
    fn jobs_become_steps() {
        let check = |name: &str, said: &str, expected: Template| {
            assert_eq!(resolve(name, &options(said)).expect(name), expected, "{name}");
        };
        let step = Step::Builtin;
        let plain = template;
        check(
            "wordcount",
            "",
            plain(step(Builtin::WordCount), Some(step(Builtin::Sum)), step(Builtin::Sum)).keyed(KeyRule::default()),
        );
        let grep = step(Builtin::Grep { pattern: "a.b".into() });
        check("grep", "pattern=a.b", plain(grep, None, Step::Identity).shaped(Shape::MapOnly));
        check("sort", "", plain(Step::Identity, None, Step::Identity).keyed(KeyRule::Line).shaped(Shape::Ranged));
        let distinct = || step(Builtin::Distinct);
        check("distinct", "", plain(Step::Identity, Some(distinct()), distinct()).keyed(KeyRule::Line));
        check("sum", "", plain(Step::Identity, Some(step(Builtin::Sum)), step(Builtin::Sum)));
        let top =
            |count| plain(step(Builtin::Top { count }), None, step(Builtin::Top { count })).shaped(Shape::OneReduce);
        check("top", "", top(10));
        check("top", "count=3", top(3));
        let join = plain(step(Builtin::Join), None, step(Builtin::Join));
        check("join", "with=other/", Template { other_input: vec!["other/".into()], ..join });
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        let check = |name: &str, said: &str, part: &str| {
            let fault = resolve(name, &options(said)).expect_err(name);
            assert!(fault.text.contains(part), "{name} {said}: {fault}");
        };
        check("wordcuont", "", "no built-in job `wordcuont` (did you mean `wordcount`?): one of wordcount, grep,");
        check("zebra", "", "no built-in job `zebra`: one of");
        check("grep", "", "`grep` needs --pattern REGEX (in a job file: pattern = ");
        check("grep", "pattern=(", "malformed --pattern");
        check("join", "", "`join` needs --with INPUT");
        check("top", "count=0", "at least 1");
        check("sort", "count=1", "`sort` takes no --count N");
        check("wordcount", "pattern=x", "`wordcount` takes no --pattern");
    }

    #[test]
    fn the_list_shows_what_each_needs() {
        let check = |index: usize, line: &str| assert_eq!(BUILTINS[index].to_string(), line);
        check(0, "wordcount  how often each word occurs: word<TAB>count");
        check(1, "grep       the lines that match a regular expression, in input order; --pattern REGEX");
        check(5, "top        the lines with the largest numbers, of lines key<TAB>number; [--count N]");
    }
}
