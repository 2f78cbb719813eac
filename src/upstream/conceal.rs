//! Keeps our credential out of an answer that is passed on: its provider may repeat it anywhere.

use std::borrow::Cow;

use bytes::Bytes;

use super::refused::{HIDDEN, concealed, traces_of};
use crate::dialect::Meter;
use crate::dialect::frame::{frame_len, seal_frames};
use crate::route::{LiveProvider, Trace, changed_by_each};

/// Takes our credential out of an answer's pieces.
pub struct Concealer {
    secrets: Vec<Trace>,
    form: Form,
    /// What may be the beginning of it, until the next piece tells.
    torn: Bytes,
}

/// What the pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Whole lines of text: no credential has a line's end in it. One whose halves stand in two events' JSON is told from no other text.
    Lines,
    /// Whole messages of an AWS event stream, whose checksums are made anew.
    Frames,
    /// Bytes torn anywhere, whose number is told before them.
    Bytes,
}

/// A whole answer without our credential in it.
pub fn without_secret(body: Bytes, provider: &LiveProvider) -> Bytes {
    concealed(&body, provider, |secret, bytes| secret.replaced(bytes, HIDDEN)).map_or(body, Bytes::from)
}

// === impl Concealer ===

impl Concealer {
    /// For an answer that this meter watches; `None` where there is nothing to keep out of it.
    pub fn of(meter: &Meter, provider: &LiveProvider) -> Option<Concealer> {
        let secrets: Vec<Trace> = traces_of(provider).map(Cow::into_owned).collect();
        (!secrets.is_empty()).then(|| Concealer::new(meter, secrets))
    }

    fn new(meter: &Meter, secrets: Vec<Trace>) -> Concealer {
        let form = match meter {
            Meter::Stream(_) | Meter::Translation(_) => Form::Lines,
            Meter::Frames(_) => Form::Frames,
            Meter::Whole(_) | Meter::Unread => Form::Bytes,
        };
        Concealer { secrets, form, torn: Bytes::new() }
    }

    /// What is to be passed on of a piece, as the meter gives it.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.form == Form::Frames && !piece.is_empty() && !matches!(frame_len(&piece), Ok(Some(_))) {
            // Bytes that are no messages are torn anywhere.
            self.form = Form::Bytes;
        }
        match self.form {
            Form::Lines => self.each(&piece, |secret, bytes| secret.replaced(bytes, HIDDEN)).map_or(piece, Bytes::from),
            Form::Frames => match self.each(&piece, Trace::masked) {
                Some(mut masked) => {
                    seal_frames(&mut masked);
                    masked.into()
                }
                None => piece,
            },
            Form::Bytes => self.pass_bytes(piece),
        }
    }

    /// The end of what was held back.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.torn)
    }

    fn pass_bytes(&mut self, piece: Bytes) -> Bytes {
        if piece.is_empty() {
            return piece;
        }
        let joined = if self.torn.is_empty() { piece } else { [&self.torn[..], &piece[..]].concat().into() };
        let mut joined = self.each(&joined, Trace::masked).map_or(joined, Bytes::from);
        let begun = self.secrets.iter().map(|secret| secret.begun_at_end(&joined)).max().unwrap_or(0);
        self.torn = joined.split_off(joined.len() - begun);
        joined
    }

    fn each(&self, bytes: &[u8], change: impl Fn(&Trace, &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        changed_by_each(self.secrets.iter(), bytes, change)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::catalog::Dialect;
    use crate::dialect::frame::{AwsKind, read_frame, write_frame};
    use crate::dialect::wire;
    use crate::route::{Credential, Secret};

    const SECRET: &str = "sk-sk-secret";
    const MASK: &str = "************";

    fn secret() -> Trace {
        Credential::new("TEST_KEY", Secret::new(SECRET)).trace.unwrap()
    }

    fn passed(meter: &Meter, pieces: &[&[u8]]) -> Vec<u8> {
        let mut concealer = Concealer::new(meter, vec![secret()]);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| concealer.pass(Bytes::copy_from_slice(piece))).collect();
        out.extend_from_slice(&concealer.finish());
        out
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_torn_and_the_length_stays() {
        let text = format!("before {SECRET}{SECRET} sk-sk-sk-secret, and sk-sk- the end of sk-sk-secre");
        let hidden = text.replace(SECRET, MASK);
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(String::from_utf8(passed(&Meter::Unread, &pieces)).unwrap(), hidden, "{size}");
        }
    }

    #[test]
    fn nothing_waits_but_what_may_be_a_secrets_beginning() {
        let mut concealer = Concealer::new(&Meter::Unread, vec![secret()]);
        assert_eq!(concealer.pass(Bytes::from_static(b"all of it")), "all of it");
        assert_eq!(concealer.pass(Bytes::from_static(b"more sk-")), "more ");
        assert_eq!(concealer.pass(Bytes::from_static(b"elf")), "sk-elf");
    }

    #[test]
    fn a_message_without_the_secret_is_one_that_aws_could_have_written() {
        let mut stream = Vec::new();
        for text in ["one", SECRET, "three"] {
            write_frame(AwsKind::Event, "contentBlockDelta", &mut stream, |out| out.extend_from_slice(format!("\"{text}\"").as_bytes()));
        }
        let meter = Meter::frames(wire(Dialect::BedrockConverse).tells);
        let told = passed(&meter, &[&stream]);
        assert_eq!(told.len(), stream.len());
        let mut frames = crate::dialect::frame::AwsFrames::default();
        let mut payloads = Vec::new();
        frames.push(&told, |frame| payloads.push(String::from_utf8(frame.unwrap().payload.to_vec()).unwrap()));
        assert_eq!(payloads, ["\"one\"", &format!("\"{MASK}\""), "\"three\""]);
        assert!(read_frame(&told[told.len() / 2..]).is_err());
    }

    #[test]
    fn bytes_that_are_no_messages_are_searched_all_the_same() {
        let meter = Meter::frames(wire(Dialect::BedrockConverse).tells);
        let text = format!("{SECRET} no messages");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
        assert_eq!(passed(&meter, &[text.as_bytes()]), text.replace(SECRET, MASK).into_bytes());
        assert!(!String::from_utf8(passed(&meter, &pieces)).unwrap().contains("secret"));
    }
}
