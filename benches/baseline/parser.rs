//! simd-json with every buffer kept: the fastest way it offers.

use simd_json::{Buffers, INPUT_PADDING, Node, Tape, fill_tape_padded};
use std::mem;

/// Buffers that survive from one text to the next.
pub(crate) struct Parser {
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Parser {
    pub(crate) fn new() -> Parser {
        Parser {
            scratch: Vec::new(),
            buffers: Buffers::new(4_096),
            tape: Tape(Vec::new()),
        }
    }

    /// Parses a copy of `json` (the parser unescapes in place) and hands the tape to `read`, with the address of the
    /// copy's first byte: a string's address less this one is its offset in `json`.
    ///
    /// The padding behind the copy spares the parser a copy of its own. Panics on invalid JSON: the events are ours.
    pub(crate) fn parse<R>(
        &mut self,
        json: &[u8],
        read: impl FnOnce(&mut Tape<'_>, usize) -> R,
    ) -> R {
        self.scratch.clear();
        self.scratch.extend_from_slice(json);
        self.scratch.extend_from_slice(&[b' '; INPUT_PADDING]);
        let base = self.scratch.as_ptr() as usize;
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        fill_tape_padded(&mut self.scratch, json.len(), &mut self.buffers, &mut tape)
            .expect("valid JSON");
        let result = read(&mut tape, base);
        self.tape = tape.reset();
        result
    }
}

/// The index of the node that follows the value at `index`.
pub(crate) fn after(nodes: &[Node<'_>], index: usize) -> usize {
    match nodes[index] {
        Node::Object { count, .. } | Node::Array { count, .. } => index + 1 + count,
        Node::String(_) | Node::Static(_) => index + 1,
    }
}
