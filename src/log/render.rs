//! [`Renderer`]: events of a block as AWS's JSON, or as lines for people.

use std::io::Write as _;

use super::decode::{Document, Entry, Held, Member, Reference, Span};
use crate::history::{Field, LOG_DOCUMENT_BYTES_MAX, LogLine, Object, Variables, write_log_line};
use crate::stdx::Timestamp;
use crate::value::push_escaped;

/// How events are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum LineFormat {
    /// One JSON object a line, as AWS's logs have them.
    Json,
    /// Time, machine, execution, number, type and state, then the fields.
    Text,
}

/// Renders events to the end of a buffer.
///
/// The output of a state is mostly the input of the next one: documents that stand in the buffer already are copied.
#[derive(Debug, Default)]
pub(crate) struct Renderer {
    turn: u64,
    /// The ARN of its execution, as it stands in a JSON string.
    arn: Vec<u8>,
    /// Where in the buffer the escaped text of the turn's documents stands, by their numbers.
    written: Vec<Option<(usize, usize)>>,
    /// Containers in which a document stands that is being written.
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    next: u32,
    first: u32,
    end: u32,
    is_object: bool,
}

impl Renderer {
    /// What stood in the buffer is no longer there.
    pub(crate) fn forget(&mut self) {
        self.written.clear();
    }

    /// Appends the event and the line's end.
    pub(crate) fn line(&mut self, entry: &Entry<'_, '_>, format: LineFormat, out: &mut Vec<u8>) {
        match format {
            LineFormat::Json => self.json(entry, out),
            LineFormat::Text => self.text(entry, out),
        }
        out.push(b'\n');
    }

    fn json(&mut self, entry: &Entry<'_, '_>, out: &mut Vec<u8>) {
        if self.turn != entry.turn() {
            self.turn = entry.turn();
            self.written.clear();
            self.arn.clear();
            push_escaped(entry.execution_arn(), &mut self.arn);
        }
        let arn = std::mem::take(&mut self.arn);
        let line = LogLine {
            id: entry.id,
            previous_id: entry.previous_id,
            millis: entry.millis,
            event_type: entry.event_type,
            escaped_arn: &arn,
        };
        write_log_line(out, &line, |details| {
            for (field, held) in entry.fields() {
                self.field(entry, *field, *held, details);
            }
        });
        self.arn = arn;
    }

    fn field(&mut self, entry: &Entry<'_, '_>, field: Field, held: Held, object: &mut Object<'_>) {
        match held {
            Held::Text(text) => object.string(field.name(), text.of(entry.items())),
            Held::Number(number) => object.number(field.name(), number),
            Held::Document(document) => {
                let bytes_max = match field.details_name() {
                    Some(_) => LOG_DOCUMENT_BYTES_MAX,
                    None => usize::MAX,
                };
                let mut place = (0, 0);
                let truncated = object.document(field, bytes_max, |out| {
                    place.0 = out.len();
                    self.escaped(entry, document, out);
                    place.1 = out.len();
                });
                if !truncated && document.part.is_none() {
                    self.remember(document.id, place);
                }
            }
            Held::Variables { first, end } => {
                let mut variables = Variables::new(object, LOG_DOCUMENT_BYTES_MAX);
                for member in entry.members(first, end) {
                    variables.variable(member.name.of(entry.items()), |out| {
                        self.escaped(entry, member.value, out);
                    });
                }
                variables.end();
            }
            Held::Credentials(role_arn) => {
                object.credentials(role_arn.map(|role_arn| role_arn.of(entry.items())));
            }
        }
    }

    fn remember(&mut self, id: u32, place: (usize, usize)) {
        let at = id as usize;
        if self.written.len() <= at {
            self.written.resize(at + 1, None);
        }
        self.written[at] = Some(place);
    }

    /// Appends a value as it stands in a JSON string.
    fn escaped(&mut self, entry: &Entry<'_, '_>, value: Reference, out: &mut Vec<u8>) {
        if value.part.is_none()
            && let Some(Some((start, end))) = self.written.get(value.id as usize)
        {
            out.extend_from_within(*start..*end);
            return;
        }
        self.walk(entry, value, out, |piece, out| match piece {
            Piece::Text(text) => push_escaped(text, out),
            Piece::Quote => out.extend_from_slice(b"\\\""),
            Piece::QuoteAndColon => out.extend_from_slice(b"\\\":"),
            Piece::Sign(byte) => out.push(byte),
        });
    }

    /// Appends a value as JSON.
    pub(crate) fn raw(&mut self, entry: &Entry<'_, '_>, value: Reference, out: &mut Vec<u8>) {
        self.walk(entry, value, out, |piece, out| match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Quote => out.push(b'"'),
            Piece::QuoteAndColon => out.extend_from_slice(b"\":"),
            Piece::Sign(byte) => out.push(byte),
        });
    }

    /// Goes over a value, piece by piece.
    fn walk(
        &mut self,
        entry: &Entry<'_, '_>,
        value: Reference,
        out: &mut Vec<u8>,
        write: impl Fn(Piece<'_>, &mut Vec<u8>),
    ) {
        let text = |span: Span| Piece::Text(span.of(entry.items()));
        self.open.clear();
        let mut next = Some(value);
        loop {
            if let Some(value) = next.take() {
                match (value.part, entry.document(value.id)) {
                    (Some(part), _) => write(text(part), out),
                    (None, Document::Universal(json)) => write(Piece::Text(json.as_bytes()), out),
                    (None, Document::Text(span)) => write(text(span), out),
                    (None, Document::Object { first, end }) => {
                        write(Piece::Sign(b'{'), out);
                        self.open(first, end, true);
                    }
                    (None, Document::Array { first, end }) => {
                        write(Piece::Sign(b'['), out);
                        self.open(first, end, false);
                    }
                }
            }
            let Some(open) = self.open.last_mut() else {
                return;
            };
            let Some(Member { name, value }) = entry.members(open.next, open.end).first() else {
                let sign = if open.is_object { b'}' } else { b']' };
                write(Piece::Sign(sign), out);
                self.open.pop();
                continue;
            };
            if open.next > open.first {
                write(Piece::Sign(b','), out);
            }
            if open.is_object {
                write(Piece::Quote, out);
                write(text(*name), out);
                write(Piece::QuoteAndColon, out);
            }
            open.next += 1;
            next = Some(*value);
        }
    }

    fn open(&mut self, first: u32, end: u32, is_object: bool) {
        self.open.push(Open {
            next: first,
            first,
            end,
            is_object,
        });
    }

    fn text(&mut self, entry: &Entry<'_, '_>, out: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = write!(out, "{} ", Timestamp::from_millis(entry.millis));
        plain(entry.machine(), out);
        out.push(b' ');
        plain(entry.execution_name(), out);
        let _ = write!(out, " #{} {}", entry.id, entry.event_type.as_str());
        if let Some(state) = entry.state() {
            out.push(b' ');
            quoted(state, out);
        }
        for (field, held) in entry.fields() {
            // The state was named already.
            if *field == Field::Name {
                continue;
            }
            let _ = write!(out, " {}=", field.name());
            match *held {
                Held::Text(text) => quoted(text.of(entry.items()), out),
                Held::Number(number) => {
                    let _ = write!(out, "{number}");
                }
                Held::Document(document) => self.plain_document(entry, document, out),
                Held::Variables { first, end } => {
                    for (at, member) in entry.members(first, end).iter().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        plain(member.name.of(entry.items()), out);
                        out.push(b':');
                        self.plain_document(entry, member.value, out);
                    }
                }
                Held::Credentials(role_arn) => {
                    quoted(
                        role_arn.map_or(&[], |role_arn| role_arn.of(entry.items())),
                        out,
                    );
                }
            }
        }
    }

    /// A document on one line: as JSON it has no line ends, as it was sent it may.
    fn plain_document(&mut self, entry: &Entry<'_, '_>, value: Reference, out: &mut Vec<u8>) {
        let start = out.len();
        self.raw(entry, value, out);
        for byte in &mut out[start..] {
            if byte.is_ascii_control() {
                *byte = b' ';
            }
        }
    }
}

enum Piece<'a> {
    Text(&'a [u8]),
    /// `"`
    Quote,
    /// `":`
    QuoteAndColon,
    /// What needs no escape anywhere.
    Sign(u8),
}

/// Text for people: no control character gets to a terminal.
fn plain(text: &[u8], out: &mut Vec<u8>) {
    push_escaped(text, out);
}

/// The same in quotes if it is not one word.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    let is_word = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !text.is_empty() && text.iter().all(is_word) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    plain(text, out);
    out.push(b'"');
}
