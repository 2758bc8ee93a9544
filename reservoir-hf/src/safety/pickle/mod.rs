//! Pickles: one after another, walked as Python's `Unpickler` would run them, without running anything.

mod machine;
pub(super) mod names;
mod value;

use std::io;

use self::machine::{End, MEANT, Machine, Outcome};
use super::{
    input::Input,
    look::{Place, Scan},
    report::{Report, Rule},
};

/// Pickles that are followed one after another.
const PICKLES: u32 = 1 << 16;

/// How PyTorch's format before ZIP begins: its magic number as a pickle of its own.
const TORCH_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Pickles of that format; raw tensors follow.
const TORCH_PICKLES: u32 = 5;

/// What is known of bytes before they are read as pickles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Any bytes.
    Maybe,
    /// A reader would load them as a pickle.
    Pickle,
}

/// Looks at everything up to where bytes are no pickle.
pub(super) fn walk(scan: &mut Scan, input: &mut Input<'_>, place: &Place, expect: Expect) -> io::Result<()> {
    let begin = input.peek(2 + TORCH_MAGIC.len())?;
    let is_torch = begin.get(2..).is_some_and(|rest| rest == TORCH_MAGIC);
    let mut is_solid = expect == Expect::Pickle;
    let mut count = 0_u32;
    while !input.is_at_end()? {
        if count == PICKLES {
            scan.report.incomplete(&place.shown(), format!("more than {PICKLES} pickles follow each other"));
            break;
        }
        let is_declared = declares(input.peek(2)?) || count == 0 && expect == Expect::Pickle;
        let start = input.position();
        let (outcome, failed) = Machine::new(input, is_declared).run();
        let is_trailing = count > 0 && is_solid && outcome.end != End::Stop && !outcome.did_something();
        let is_raw_tensors = is_torch && count == TORCH_PICKLES;
        if is_trailing && !is_raw_tensors {
            let detail = format!("has bytes after its last pickle, from byte {start} on");
            scan.report.find(Rule::PickleTrailingBytes, &place.shown(), detail);
        } else {
            settle(&mut scan.report, place, &outcome, start);
            if expect == Expect::Pickle && count == 0 && outcome.end != End::Stop {
                scan.report
                    .incomplete(&place.shown(), "what should be a pickle could not be followed to its end");
            }
        }
        failed?;
        is_solid |= is_declared || outcome.did_something();
        count = count.saturating_add(1);
        if outcome.end != End::Stop {
            break;
        }
    }
    Ok(())
}

/// Whether the first bytes of something that is another format begin a pickle that does something.
pub(super) fn probe(report: &mut Report, head: &[u8], place: &Place, what: &str) {
    let mut bytes = head;
    let mut input = Input::new(&mut bytes);
    let is_declared = declares(head);
    let (outcome, _) = Machine::new(&mut input, is_declared).run();
    // A name in a TAR is long enough for operations that lead over its headers.
    let leads_on = what == "TAR" && outcome.end == End::Truncated && outcome.operations > 2;
    if outcome.is_telling(is_declared) || leads_on {
        let detail = format!("is a {what} and begins as a pickle");
        report.find(Rule::PicklePolyglot, &place.shown(), detail);
        settle(report, place, &outcome, 0);
    }
}

/// Whether these bytes, or as many as there are, are a pickle that does something.
pub(super) fn is_telling(bytes: &[u8]) -> bool {
    let mut bytes = bytes;
    let is_declared = declares(bytes);
    Machine::new(&mut Input::new(&mut bytes), is_declared).run().0.is_telling(is_declared)
}

fn declares(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Reports what one pickle did.
fn settle(report: &mut Report, place: &Place, outcome: &Outcome, start: u64) {
    let is_declared = outcome.is_declared;
    if !outcome.is_telling(is_declared) {
        if is_declared && outcome.end != End::Stop && outcome.operations >= MEANT {
            let reason = format!("a pickle at byte {start} breaks after {} operations", outcome.operations);
            report.incomplete(&place.shown(), reason);
        }
        if outcome.end == End::Deep {
            report.incomplete(&place.shown(), "a pickle has more on its stack than is followed");
        }
        return;
    }
    for (safety, module, name) in &outcome.imports {
        report.import(*safety, module, name);
    }
    for (rule, detail) in &outcome.found {
        report.find(*rule, &place.shown(), detail);
    }
    let broken = match outcome.end {
        End::Stop => return,
        End::Truncated => "is a pickle that is cut short",
        End::Invalid => "is a pickle that breaks off in what is no operation",
        End::Deep => "is a pickle with more on its stack than is followed",
    };
    report.find(Rule::PickleBroken, &place.shown(), broken);
}
