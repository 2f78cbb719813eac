//! What a request can take at most, before its provider is asked: what is reserved for it.

use std::slice;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::catalog::model::Within;
use crate::catalog::{Model, Operation};
use crate::dialect::Ask;
use crate::dialect::parts::Parts;
use crate::dialect::tools::Added;
use crate::money::{self, Price, Usd};
use crate::quota::{Exceeded, Need, Stage, Unbounded, limits};
use crate::route::Target;

/// A token of text is about four bytes; the true count replaces this when the answer is settled.
const BYTES_A_TOKEN: u64 = 4;
/// A string without a space in it that is longer than this is a file in base64.
const LONGEST_WORD: usize = 4096;
/// Bytes of text that have as many tokens as a picture or a page mostly has, and one for so many bytes of a file more.
const A_FILE: u64 = 6000;
const A_FILE_HOLDS: u64 = 64;
/// How a request says that a cache is to keep something for an hour (`"ttl": "1h"`), also where a letter of it is escaped.
static AN_HOUR: LazyLock<[Finder<'_>; 3]> = LazyLock::new(|| ["\"1h\"", "\\u0031", "\\u0068"].map(Finder::new));
/// Words by which sound is asked for, in whichever dialect (`modalities`, `responseModalities`, `audio`), also where a letter of one is escaped.
static SOUND: LazyLock<[Finder<'_>; 6]> =
    LazyLock::new(|| ["odalities", "\"audio\"", "\\u004", "\\u005", "\\u006", "\\u007"].map(Finder::new));
/// What thinking is given at the least where it is switched on (Anthropic's "Extended thinking").
const LEAST_THOUGHT: u64 = 1024;
/// More tokens than a provider puts around tools, or for one that it describes itself: Anthropic's page "Pricing" names up to 804.
const AROUND_TOOLS: u64 = 1024;

/// A request's tokens and cost, before they are known.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Tokens in, as text of its length mostly has.
    pub input: u64,
    /// Tokens out at the most, where the caller says so, as far as a model gives them.
    pub output: u64,
    /// The most that it can cost, whichever target answers, or why nobody can tell.
    pub worst: Result<Usd, Unbounded>,
    /// How many answers it wants.
    pub answers: u64,
    /// It wants none of it said, as where what it sends is only to be judged.
    pub asks_for_none: bool,
}

/// What a model is given to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input {
    /// Bytes of all of it, a token each at the most.
    text: u64,
    /// Bytes of text, about four a token.
    words: u64,
    /// Texts, pictures and pairs that are read each by itself.
    parts: u64,
    /// Tokens that its provider adds.
    added: u64,
    /// Tokens that are foretold of each answer, and billed beside it.
    foretold: u64,
    /// Tokens that are stated for what is thought.
    thinks: u64,
    /// It may be more, or no text at all: files, pictures, sound, pages, what a provider keeps, what its own tools find.
    may_be_more: bool,
    /// There may be files among it, which have some providers run a tool.
    may_have_files: bool,
    /// After each call of a tool that its provider runs, the model reads all of it again.
    is_read_again: bool,
    /// Some of it may be kept in a cache for an hour.
    is_kept_an_hour: bool,
    /// It may ask for sound.
    asks_for_sound: bool,
}

// === impl Input ===

impl Input {
    /// A text of so many bytes.
    pub fn text(bytes: u64) -> Input {
        Input { text: bytes, words: bytes, parts: 1, ..Input::default() }
    }

    /// A text of so many bytes, and what nobody can count beforehand.
    pub fn and_more(text: u64) -> Input {
        Input { may_be_more: true, ..Input::text(text) }
    }

    /// What a request holds, what it points to, and what its provider adds because of its tools, which matters where a budget must hold.
    pub fn of(ask: &Ask, targets: &[Target], is_budgeted: bool) -> Input {
        let has_tools = is_budgeted && !ask.called.operation.has_no_output();
        let tools = if has_tools { ask.tools.added(&ask.body) } else { Added::default() };
        let added = AROUND_TOOLS.saturating_mul(u64::from(tools.any) + tools.described_there);
        let text = ask.body.len() as u64;
        let words = if ask.points_out { words(&ask.body) } else { text };
        let parts = if is_budgeted { Parts::of(ask) } else { Parts::ONE };
        let text = text.saturating_add(parts.again);
        let (may_be_more, is_read_again) = (ask.points_out, tools.runs_there);
        let says = |marks: &[Finder<'_>]| marks.iter().any(|mark| mark.find(&ask.body).is_some());
        let is_kept_an_hour = is_budgeted && says(&*AN_HOUR);
        let may_say = |target: &Target| target.facts().is_some_and(Model::prices_its_voice);
        let asks_for_sound = is_budgeted && targets.iter().any(may_say) && says(&*SOUND);
        Input {
            is_kept_an_hour,
            asks_for_sound,
            text,
            words,
            parts: parts.count,
            added,
            foretold: ask.foretold,
            thinks: ask.thinks,
            may_be_more,
            may_have_files: ask.has_documents,
            is_read_again,
        }
    }

    /// The most tokens that a model makes of it.
    fn most(self, model: &Model) -> Result<u64, Unbounded> {
        if self.is_read_again {
            return Err(Unbounded::Tools);
        }
        let takes = takes(model).map(|takes| takes.saturating_mul(self.parts));
        match self.may_be_more {
            true => takes.ok_or(Unbounded::Input),
            // No tokenizer makes more tokens of a text than it has bytes.
            false => Ok(self.text.saturating_add(self.added).saturating_add(model.adds).min(takes.unwrap_or(u64::MAX))),
        }
    }
}

// === impl Estimate ===

impl Estimate {
    /// Of a request that wants `choices` answers of `max_output` tokens in all.
    pub fn new(operation: Operation, targets: &[Target], input: Input, max_output: Option<u64>, choices: u64) -> Estimate {
        let foretold = input.foretold.saturating_mul(choices);
        let thinks = input.thinks.max(LEAST_THOUGHT).saturating_mul(choices);
        let worst = |target: &Target| {
            let model = target.facts().ok_or(Unbounded::Price)?;
            if target.provider.charges_besides || model.charges_besides {
                return Err(Unbounded::Besides);
            }
            if target.provider.files_run_tools && input.may_have_files && !operation.has_no_output() {
                return Err(Unbounded::Tools);
            }
            let gives = || known(model.max_output).or(known(model.context)).map(|most| most.saturating_mul(choices));
            let most_input = input.most(model);
            let within = match target.provider.takes_max_price {
                // Who chooses at which price it answers is told the highest one of all.
                true => Within::ANYTHING,
                false => Within {
                    input: most_input.unwrap_or(u64::MAX),
                    hears: input.may_be_more,
                    speaks: input.asks_for_sound || !matches!(operation, Operation::Chat | Operation::Completions),
                },
            };
            let [mut price_in, price_out] = model.dearest(within).ok_or(Unbounded::Price)?;
            if input.is_kept_an_hour {
                price_in = price_in.max(model.dearest_hour(within).unwrap_or_default());
            }
            // Of what is free there may be any number, where nothing is charged besides.
            let input = if price_in == Price(0) && !target.provider.tells_cost { 0 } else { most_input? };
            let most = match target.provider.thinks_beside_max_output && !operation.has_no_output() {
                true => known(model.context).or(known(model.max_output)).map(|most| most.saturating_mul(choices)),
                // Some take none at all for no limit.
                false => match max_output.filter(|most| *most > 0 || operation.has_no_output()) {
                    Some(asked) => {
                        let thought = if target.provider.adds_thinking { asked.max(thinks) } else { 0 };
                        Some(asked.saturating_add(thought).min(fits(model, choices).unwrap_or(u64::MAX)))
                    }
                    None => gives(),
                },
            };
            let output = if price_out == Price(0) { 0 } else { most.ok_or(Unbounded::Output)?.saturating_add(foretold) };
            Ok(money::from_pico(price_in.of(input).saturating_add(price_out.of(output))))
        };
        let worst = match operation.is_free() {
            true => Ok(Usd::default()),
            false => targets.iter().map(worst).try_fold(Usd::default(), |most, cost| Ok(most.max(cost?))),
        };
        let fit = || targets.iter().map(|target| fits(target.facts()?, choices)).reduce(|most, fits| Some(most?.max(fits?))).flatten();
        Estimate {
            input: input.words / BYTES_A_TOKEN,
            output: max_output.map_or(0, |most| most.min(fit().unwrap_or(u64::MAX)).saturating_add(foretold)),
            worst,
            answers: choices,
            asks_for_none: max_output == Some(0),
        }
    }

    /// What has to be admitted; `touches` says whether a limit's glob names one of the targets.
    pub fn need<'a>(&self, touches: &'a dyn Fn(&str) -> bool) -> Need<'a> {
        Need { requests: 1, input: self.input, output: self.output, cost: self.worst, touches, is_part: false, stage: Stage::ToSend }
    }
}

impl Default for Estimate {
    fn default() -> Estimate {
        Estimate { input: 0, output: 0, worst: Ok(Usd::default()), answers: 1, asks_for_none: false }
    }
}

/// Bytes of what is text in a body: of a file in base64 so many as mostly come to its tokens.
fn words(body: &[u8]) -> u64 {
    let (mut bytes, mut begin) = (0, 0);
    for end in memchr::memchr_iter(b'"', body).chain([body.len()]) {
        let string = &body[begin..end];
        let length = string.len() as u64;
        bytes += if is_file(string) { (A_FILE + length / A_FILE_HOLDS).min(length) } else { length + 1 };
        begin = end + 1;
    }
    bytes
}

/// Whether a string has nothing of a text in it: no space, and no letter that is not ASCII's, written out or escaped.
fn is_file(string: &[u8]) -> bool {
    let Some(start) = string.get(..LONGEST_WORD) else { return false };
    start.is_ascii() && memchr::memchr(b' ', start).is_none() && memchr::memmem::find(start, b"\\u").is_none()
}

/// Whether a limit's glob names one of the targets.
pub fn touches(targets: &[Target], glob: &str) -> bool {
    targets.iter().any(|target| limits::names(glob, &target.full_name()))
}

/// Judges a request by those of its targets that no limit on some models stops, which are all that is left of them then; where none is left, the
/// first refusal is told.
pub fn among<T, E>(
    targets: &mut Vec<Target>,
    judge: impl Fn(&[Target]) -> Result<T, E>,
    exceeded: impl Fn(&E) -> &Exceeded,
) -> Result<T, E> {
    let mut first = None;
    loop {
        let refused = match judge(targets) {
            Ok(judged) => return Ok(judged),
            Err(refused) => refused,
        };
        let exceeded = exceeded(&refused);
        let is_counted = |target: &Target| exceeded.models().is_some_and(|glob| touches(slice::from_ref(target), glob));
        let (counted, left): (Vec<Target>, Vec<Target>) = targets.iter().cloned().partition(is_counted);
        if counted.is_empty() || left.is_empty() {
            return Err(first.unwrap_or(refused));
        }
        // What the others cost at the most is nothing to a budget that does not count them.
        if matches!(exceeded, Exceeded::Budget { .. } | Exceeded::Unbounded(..))
            && let Ok(judged) = judge(&counted)
        {
            *targets = counted;
            return Ok(judged);
        }
        first.get_or_insert(refused);
        *targets = left;
    }
}

/// The most tokens that a model reads, where that is known.
pub fn takes(model: &Model) -> Option<u64> {
    known(model.max_input).or(known(model.context))
}

/// What no answers of a model are longer than in all, whatever is asked for, where that is known.
fn fits(model: &Model, choices: u64) -> Option<u64> {
    known(model.context).max(known(model.max_output)).map(|most| most.saturating_mul(choices))
}

/// The catalogue's 0 is a number that nobody knows: there are models of pictures and sound that it says to read and give nothing.
fn known(tokens: Option<u64>) -> Option<u64> {
    tokens.filter(|tokens| *tokens > 0)
}
