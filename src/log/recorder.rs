//! [`Recorder`]: an observer that writes events into the blocks of one worker.

use std::sync::Arc;

use super::block::{BlockWriter, push_inline_text};
use super::documents::{Documents, Stored};
use super::format::{BLOCK_BYTES, BLOCK_BYTES_MAX, item, push_number, push_signed};
use super::stream::Shared;
use super::{ExecutionIdentity, LogConfig};
use crate::asl::MachineType;
use crate::history::{Field, Fields, HistoryEvent, LogLevel, Observer};
use crate::interp::{MachineIdentity, express_id, uuid};
use crate::intrinsic::Random;
use crate::value::{Val, Values};

/// Machines that a recorder remembers.
const MACHINES_MAX: usize = 4_096;

/// Records the events of one worker's executions for a [`LogStream`](super::LogStream).
///
/// Say with [`Recorder::turn_to`] whose events follow, hand the recorder to [`Execution::step`], and call
/// [`Recorder::flush`] when there is nothing to do: what is not flushed is seen by nobody. Dropping it flushes as well.
///
/// [`Execution::step`]: crate::interp::Execution::step
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    block: BlockWriter,
    documents: Documents,
    /// In the order of their identities' addresses.
    machines: Vec<Machine>,
    /// Of the configuration that `machines` come from.
    epoch: u64,
    /// Which of them the execution belongs to.
    machine: usize,
    /// The least level that is wanted of the execution.
    level: LogLevel,
    include_data: bool,
    seed: u64,
    /// Whether the execution was given a name, and the name.
    is_named: bool,
    name: String,
    turn: Option<Turn>,
    /// The values of the event under way.
    stored: Vec<Stored>,
}

/// A turn that was begun in the block.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Of the execution's document.
    generation: u32,
    last_id: u64,
    last_millis: i64,
}

/// A machine, and what is logged of it.
#[derive(Debug)]
struct Machine {
    identity: Arc<MachineIdentity>,
    config: LogConfig,
    arn_prefix: String,
}

impl Recorder {
    pub(super) fn new(shared: Arc<Shared>) -> Recorder {
        Recorder {
            block: BlockWriter::new(shared.memory()),
            shared,
            documents: Documents::default(),
            machines: Vec::new(),
            epoch: 0,
            machine: 0,
            level: LogLevel::Off,
            include_data: false,
            seed: 0,
            is_named: false,
            name: String::new(),
            turn: None,
            stored: Vec::new(),
        }
    }

    /// The events that follow belong to this execution, and its values are where they are until the next call.
    pub fn turn_to(&mut self, execution: &ExecutionIdentity<'_>) {
        let config = self.config(execution.machine);
        self.begin(execution, config);
    }

    /// The same, with what is to be logged of this execution, whatever the stream says of its machine.
    pub fn turn_to_with(&mut self, execution: &ExecutionIdentity<'_>, config: LogConfig) {
        // For the place of the machine.
        self.config(execution.machine);
        self.begin(execution, config);
    }

    fn begin(&mut self, execution: &ExecutionIdentity<'_>, config: LogConfig) {
        self.turn = None;
        self.include_data = config.include_execution_data;
        self.level = config.level;
        if self.level == LogLevel::Off {
            return;
        }
        self.seed = execution.seed;
        self.is_named = execution.name.is_some();
        if let Some(name) = execution.name {
            self.name.clear();
            self.name.push_str(name);
        }
        if !config.is_whole() && !is_in_sample(execution, config.sample) {
            self.level = LogLevel::Off;
        }
    }

    /// True if anything may be logged of a machine's executions.
    pub fn records(&mut self, machine: &Arc<MachineIdentity>) -> bool {
        self.config(machine).level != LogLevel::Off
    }

    #[inline]
    fn config(&mut self, machine: &Arc<MachineIdentity>) -> LogConfig {
        let epoch = self.shared.epoch();
        let is_known = self.epoch == epoch
            && self
                .machines
                .get(self.machine)
                .is_some_and(|known| Arc::ptr_eq(&known.identity, machine));
        if !is_known {
            self.find_machine(machine, epoch);
        }
        self.machines[self.machine].config
    }

    #[cold]
    fn find_machine(&mut self, identity: &Arc<MachineIdentity>, epoch: u64) {
        if self.epoch != epoch || self.machines.len() >= MACHINES_MAX {
            self.machines.clear();
            self.epoch = epoch;
        }
        let address = |identity: &Arc<MachineIdentity>| Arc::as_ptr(identity).addr();
        let place = self
            .machines
            .binary_search_by_key(&address(identity), |known| address(&known.identity));
        self.machine = place.unwrap_or_else(|place| {
            // Its identity is kept, so that its address stays its own.
            let machine = Machine {
                identity: Arc::clone(identity),
                config: self.shared.config(&identity.name),
                arn_prefix: identity.execution_arn_prefix(),
            };
            self.machines.insert(place, machine);
            place
        });
    }

    /// Hands what was recorded to the sinks.
    pub fn flush(&mut self) {
        self.turn = None;
        if self.block.events > 0 {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let block = self.block.take(self.shared.memory());
        self.shared.publish(block);
    }

    /// Says in the block whose events follow.
    fn begin_turn(&mut self, event: &HistoryEvent<'_>) -> Turn {
        self.documents.clear();
        let machine = &self.machines[self.machine];
        let id = match machine.identity.machine_type {
            MachineType::Express => Some(express_id(self.seed)),
            MachineType::Standard => None,
        };
        let block = &mut self.block;
        block.items.push(item::TURN);
        block.text(&machine.identity.name);
        block.text(&machine.arn_prefix);
        let has_id = if id.is_some() { item::HAS_ID } else { 0 };
        if self.is_named {
            block.items.push(item::NAME_IS_TEXT | has_id);
            block.inline_text(&self.name);
        } else {
            block.items.push(item::NAME_IS_UUID | has_id);
            block.items.extend_from_slice(uuid(self.seed).as_bytes());
        }
        if let Some(id) = id {
            block.items.extend_from_slice(id.as_bytes());
        }
        let millis = event.timestamp.millis();
        push_signed(&mut block.items, millis);
        Turn {
            generation: event.values.doc.generation(),
            last_id: 0,
            last_millis: millis,
        }
    }

    #[inline(never)]
    fn record(&mut self, event: &HistoryEvent<'_>) {
        let mark = self.block.mark();
        let generation = event.values.doc.generation();
        let mut turn = match self.turn {
            // After a compaction the values are elsewhere.
            Some(turn) if turn.generation == generation => turn,
            _ => self.begin_turn(event),
        };
        self.stored.clear();
        event.tell(
            self.include_data,
            &mut Storing {
                documents: &mut self.documents,
                block: &mut self.block,
                values: event.values,
                stored: &mut self.stored,
            },
        );
        let items = &mut self.block.items;
        items.push(item::EVENT + event.details.event_type() as u8);
        push_number(items, event.id.wrapping_sub(turn.last_id));
        push_number(items, event.id.wrapping_sub(event.previous_id));
        let millis = event.timestamp.millis();
        push_signed(items, millis.wrapping_sub(turn.last_millis));
        event.tell(
            self.include_data,
            &mut Writing {
                block: &mut self.block,
                stored: self.stored.iter(),
            },
        );
        self.block.items.push(0);
        (turn.last_id, turn.last_millis) = (event.id, millis);
        self.turn = Some(turn);
        self.block.events += 1;
        if self.block.items.len() >= BLOCK_BYTES {
            self.complete(mark);
        }
    }

    /// The block is complete; without its last event, if that makes it too large.
    #[cold]
    fn complete(&mut self, mark: super::block::Mark) {
        self.turn = None;
        if self.block.items.len() > BLOCK_BYTES_MAX {
            self.block.cut(mark);
            self.block.events -= 1;
            self.shared.too_large();
        }
        if self.block.events == 0 {
            self.block.clear();
        } else {
            self.publish();
        }
    }
}

impl Observer for Recorder {
    const ENABLED: bool = true;

    #[inline(always)]
    fn wants(&self, level: LogLevel) -> bool {
        level >= self.level
    }

    #[inline]
    fn observe(&mut self, event: &HistoryEvent<'_>) {
        if self.wants(event.details.level()) {
            self.record(event);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Whether an execution is logged, of which `sample` of 2^32 are: by its name if it was given one, so that a second
/// run under the same name is logged like the first.
fn is_in_sample(execution: &ExecutionIdentity<'_>, sample: u64) -> bool {
    let seed = match execution.name {
        None => execution.seed,
        Some(name) => name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        }),
    };
    Random::new(seed).next_u64() >> 32 < sample
}

/// Stores the values of an event.
struct Storing<'a> {
    documents: &'a mut Documents,
    block: &'a mut BlockWriter,
    values: Values<'a>,
    stored: &'a mut Vec<Stored>,
}

impl Fields for Storing<'_> {
    #[inline(always)]
    fn text(&mut self, _: Field, _: &str) {}

    #[inline(always)]
    fn number(&mut self, _: Field, _: u64) {}

    #[inline(always)]
    fn document(&mut self, _: Field, val: Val) {
        let stored = self.documents.store(self.values, val, self.block);
        self.stored.push(stored);
    }

    #[inline(always)]
    fn original(&mut self, _: Field, text: &str) {
        self.stored.push(self.documents.original(text, self.block));
    }

    fn variables(&mut self, variables: &[(&str, Val)]) {
        for (_, val) in variables {
            self.document(Field::AssignedVariables, *val);
        }
    }

    #[inline(always)]
    fn credentials(&mut self, _: Option<&str>) {}
}

/// Writes the fields of an event whose values are stored.
struct Writing<'a> {
    block: &'a mut BlockWriter,
    stored: std::slice::Iter<'a, Stored>,
}

impl Writing<'_> {
    #[inline(always)]
    fn next(&mut self) {
        match self.stored.next() {
            Some(stored) => stored.write(&mut self.block.items),
            None => unreachable!("both times an event tells the same fields"),
        }
    }
}

impl Fields for Writing<'_> {
    #[inline(always)]
    fn text(&mut self, field: Field, text: &str) {
        self.block.items.push(field as u8);
        match field {
            // What people and programs make up is not likely to come again.
            Field::Error | Field::Cause | Field::WorkerName => self.block.inline_text(text),
            _ => self.block.text(text),
        }
    }

    #[inline(always)]
    fn number(&mut self, field: Field, number: u64) {
        self.block.items.push(field as u8);
        push_number(&mut self.block.items, number);
    }

    #[inline(always)]
    fn document(&mut self, field: Field, _: Val) {
        self.block.items.push(field as u8);
        self.next();
    }

    #[inline(always)]
    fn original(&mut self, field: Field, _: &str) {
        self.block.items.push(field as u8);
        self.next();
    }

    fn variables(&mut self, variables: &[(&str, Val)]) {
        self.block.items.push(Field::AssignedVariables as u8);
        push_number(&mut self.block.items, variables.len() as u64);
        for (name, _) in variables {
            self.block.text(name);
            self.next();
        }
    }

    fn credentials(&mut self, role_arn: Option<&str>) {
        let items = &mut self.block.items;
        items.push(Field::TaskCredentials as u8);
        push_number(items, u64::from(role_arn.is_some()));
        if let Some(role_arn) = role_arn {
            push_inline_text(items, role_arn);
        }
    }
}
