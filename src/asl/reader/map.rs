//! Map states, inline and distributed.

use super::place::Place;
use super::{Here, Reader, ScopeKind, Sight};
use crate::asl::diagnostic::Code;
use crate::asl::json::Value;
use crate::asl::model::{Location, MachineType, Map, MapMode, Scope};

const LABEL_CHARS_MAX: usize = 40;
const MAX_ITEMS_MAX: u64 = 100_000_000;
const BATCH_BYTES_MAX: u64 = 262_144;

/// What changes the meaning of a Map and exists only if it is distributed.
const DISTRIBUTED_ONLY: &[&str] = &["ItemReader", "ItemBatcher", "ResultWriter"];

/// What AWS accepts on any Map, but only a distributed one heeds.
const DISTRIBUTED_HEEDS: &[&str] = &[
    "Label",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
];

/// What a Map runs for each item, and how.
pub(super) struct Processor {
    pub(super) scope: Scope,
    pub(super) mode: MapMode,
    pub(super) location: Location,
}

impl<'n> Reader<'n> {
    pub(super) fn map(&mut self, state: &Place<'_, 'n>, here: Here) -> Map {
        self.exclusive(state, &["ItemSelector", "Parameters"]);
        let item_selector = match self.template_field(state, "ItemSelector") {
            Some(selector) => Some(selector),
            None => self.template_field(state, "Parameters"),
        };
        let items_path = self.path_field(state, "ItemsPath");
        if let Some(place) = state.get("ItemsPath")
            && matches!(place.node.value, Value::Null)
        {
            self.refuse(&place, "Expected value of type String");
        }
        let max_concurrency = self.number_field(state, "MaxConcurrency", 0..=u64::MAX);
        let Processor {
            scope,
            mode,
            location,
        } = self.processor(state, here);
        if mode == MapMode::Distributed {
            self.distributed(state);
        }
        self.tolerance(state);
        Map {
            items_path,
            items: None,
            item_selector,
            processor: scope,
            mode,
            max_concurrency,
            outcome: self.outcome(state, here),
            location,
        }
    }

    /// `ItemProcessor` or `Iterator`, and what the mode rules out.
    pub(super) fn processor(&mut self, state: &Place<'_, 'n>, here: Here) -> Processor {
        self.exclusive(state, &["ItemProcessor", "Iterator"]);
        let mut processor = Processor {
            scope: Scope {
                start_at: String::new(),
                states: Vec::new(),
            },
            mode: MapMode::Inline,
            location: self.sink.location(state.head()),
        };
        let Some(place) = state.get("ItemProcessor").or_else(|| state.get("Iterator")) else {
            self.required(state, &["ItemProcessor"]);
            return processor;
        };
        if !self.object(&place) {
            return processor;
        }
        let mut machine_type = here.machine_type;
        let mut sight = Sight::Open;
        if let Some(config) = place.get("ProcessorConfig")
            && self.object(&config)
        {
            let children = self.processor_config(&config, here, &mut processor);
            if processor.mode == MapMode::Distributed {
                machine_type = children;
                sight = Sight::Closed;
            }
        }
        if processor.mode == MapMode::Inline {
            self.inline_only(state);
        }
        processor.scope = self.scope(
            &place,
            ScopeKind::Processor,
            machine_type,
            Some((here.scope, sight)),
        );
        processor
    }

    /// `ProcessorConfig`; the type of the child executions is returned.
    fn processor_config(
        &mut self,
        config: &Place<'_, 'n>,
        here: Here,
        processor: &mut Processor,
    ) -> MachineType {
        self.known(config, &["Mode", "ExecutionType"]);
        let execution_type = config
            .get("ExecutionType")
            .and_then(|place| self.one_of(&place, &["STANDARD", "EXPRESS"]));
        if let Some(place) = config.get("Mode")
            && self.one_of(&place, &["INLINE", "DISTRIBUTED"]) == Some(1)
        {
            processor.mode = MapMode::Distributed;
            processor.location = self.sink.location(place.node.span);
            self.required(config, &["ExecutionType"]);
            if here.machine_type == MachineType::Express {
                self.refuse(
                    &place,
                    "Express state machine does not support a Map state with Mode 'DISTRIBUTED'",
                );
            }
        }
        match execution_type {
            Some(1) => MachineType::Express,
            _ => MachineType::Standard,
        }
    }

    fn inline_only(&mut self, state: &Place<'_, 'n>) {
        for member in state.members() {
            let name = member.name.as_ref();
            if DISTRIBUTED_HEEDS.contains(&name) {
                let place = state.member(member);
                let message = format!("An inline Map does not heed '{name}'");
                self.warn(Code::FieldHasNoEffect, &place, message);
            } else if DISTRIBUTED_ONLY.contains(&name) {
                self.refuse_part(
                    state,
                    member.name_span,
                    format!("Field '{name}' is not supported"),
                )
                .suggestion = Some(
                    "it needs \"ProcessorConfig\": {\"Mode\": \"DISTRIBUTED\", …} in the `ItemProcessor`"
                        .to_owned(),
                );
            }
        }
    }

    fn distributed(&mut self, state: &Place<'_, 'n>) {
        if let Some(place) = state.get("ItemReader")
            && self.object(&place)
        {
            self.item_reader(&place);
        }
        if let Some(place) = state.get("ItemBatcher")
            && self.object(&place)
        {
            self.item_batcher(&place);
        }
        if let Some(place) = state.get("ResultWriter")
            && self.object(&place)
        {
            self.result_writer(&place);
        }
    }

    fn tolerance(&mut self, state: &Place<'_, 'n>) {
        self.number_field(state, "ToleratedFailureCount", 0..=u64::MAX);
        self.exclusive(
            state,
            &[
                "ToleratedFailurePercentage",
                "ToleratedFailurePercentagePath",
            ],
        );
        if let Some(place) = state.get("ToleratedFailurePercentage")
            && let Some(percentage) = self.number(&place)
            && !(0.0..=100.0).contains(&percentage)
        {
            self.refuse(&place, "The value must be between 0 and 100");
        }
        if let Some(place) = state.get("ToleratedFailurePercentagePath") {
            self.definite_path(&place);
        }
        if let Some(place) = state.get("Label") {
            self.label(&place);
        }
    }

    /// The integration of an `ItemReader` or a `ResultWriter`, one of those that S3 has for it.
    fn storage(&mut self, place: &Place<'_, 'n>, actions: &[&str]) {
        let Some(arn) = self.string(place) else {
            return;
        };
        let action = arn
            .strip_prefix("arn:")
            .and_then(|rest| rest.split_once(":states:::s3:"))
            .map(|(_, action)| action);
        if !action.is_some_and(|action| actions.contains(&action)) {
            let question = actions
                .first()
                .map(|action| format!("use `arn:aws:states:::s3:{action}`"));
            self.refuse(
                place,
                format!(
                    "The resource provided {arn} is not recognized. The value is not a valid resource ARN, or the resource is not available in this region."
                ),
            )
            .suggestion = question;
        }
    }

    fn item_reader(&mut self, place: &Place<'_, 'n>) {
        self.known(place, &["Resource", "Parameters", "ReaderConfig"]);
        if self.required(place, &["Resource"])
            && let Some(resource) = place.get("Resource")
        {
            self.storage(&resource, &["getObject", "listObjectsV2"]);
        }
        self.template_field(place, "Parameters");
        if let Some(config) = place.get("ReaderConfig")
            && self.object(&config)
        {
            self.reader_config(&config);
        }
    }

    fn reader_config(&mut self, config: &Place<'_, 'n>) {
        self.known(
            config,
            &[
                "InputType",
                "Transformation",
                "ManifestType",
                "CSVHeaderLocation",
                "CSVHeaders",
                "CSVDelimiter",
                "MaxItems",
                "MaxItemsPath",
                "ItemsPointer",
            ],
        );
        let words: [(&str, &[&str]); 5] = [
            (
                "InputType",
                &["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"],
            ),
            ("Transformation", &["NONE", "LOAD_AND_FLATTEN"]),
            ("ManifestType", &["ATHENA_DATA", "S3_INVENTORY"]),
            ("CSVHeaderLocation", &["FIRST_ROW", "GIVEN"]),
            (
                "CSVDelimiter",
                &["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"],
            ),
        ];
        for (name, words) in words {
            if let Some(place) = config.get(name) {
                self.one_of(&place, words);
            }
        }
        if let Some(headers) = config.get("CSVHeaders")
            && self.filled_array(&headers)
        {
            for (i, header) in headers.elements().iter().enumerate() {
                self.string(&headers.element(i, header));
            }
        }
        if let Some(location) = config.get("CSVHeaderLocation")
            && matches!(&location.node.value, Value::String(text) if text == "GIVEN")
        {
            self.required(config, &["CSVHeaders"]);
        }
        if let Some(pointer) = config.get("ItemsPointer") {
            self.string(&pointer);
        }
        self.number_field(config, "MaxItems", 1..=MAX_ITEMS_MAX);
    }

    fn item_batcher(&mut self, place: &Place<'_, 'n>) {
        const LIMITS: [&str; 4] = [
            "MaxItemsPerBatch",
            "MaxItemsPerBatchPath",
            "MaxInputBytesPerBatch",
            "MaxInputBytesPerBatchPath",
        ];
        let known: Vec<&str> = LIMITS.iter().copied().chain(["BatchInput"]).collect();
        self.known(place, &known);
        if !LIMITS.iter().any(|name| place.has(name)) {
            self.refuse_part(
                place,
                place.head(),
                format!("One of these fields is required: [{}]", LIMITS.join(", ")),
            );
        }
        self.number_field(place, "MaxItemsPerBatch", 1..=u64::MAX);
        self.number_field(place, "MaxInputBytesPerBatch", 1..=BATCH_BYTES_MAX);
        self.template_field(place, "BatchInput");
    }

    fn result_writer(&mut self, place: &Place<'_, 'n>) {
        self.known(place, &["Resource", "Parameters", "WriterConfig"]);
        if let Some(resource) = place.get("Resource") {
            self.storage(&resource, &["putObject"]);
            self.required(place, &["Parameters"]);
        } else if !place.has("WriterConfig") {
            self.required(place, &["Resource"]);
        }
        self.template_field(place, "Parameters");
        if let Some(config) = place.get("WriterConfig")
            && self.object(&config)
        {
            self.known(&config, &["Transformation", "OutputType"]);
            if let Some(place) = config.get("Transformation") {
                self.one_of(&place, &["NONE", "COMPACT", "FLATTEN"]);
            }
            if let Some(place) = config.get("OutputType") {
                self.one_of(&place, &["JSON", "JSONL"]);
            }
        }
    }

    pub(super) fn label(&mut self, place: &Place<'_, 'n>) {
        let Some(label) = self.string(place) else {
            return;
        };
        let forbidden =
            |c: char| c.is_whitespace() || c.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"/".contains(c);
        let pointer = place.at.to_string();
        let span = place.node.span;
        if label.is_empty() || label.chars().count() > LABEL_CHARS_MAX || label.contains(forbidden)
        {
            self.sink.error(
                Code::InvalidLabelName,
                span,
                pointer,
                format!(
                    "A label has 1 to {LABEL_CHARS_MAX} characters, none of them a space, a bracket or one of ?*:;,\\|^~$#%&`\"/"
                ),
            );
        } else if let Some(first) = self.labels.get(label) {
            let suggestion = format!(
                "the first is at line {}, column {}",
                first.line, first.column
            );
            self.sink
                .error(
                    Code::DuplicateLabelName,
                    span,
                    pointer,
                    format!("Duplicate Label name: {label}"),
                )
                .suggestion = Some(suggestion);
        } else {
            let location = self.sink.location(span);
            self.labels.insert(label, location);
        }
    }
}
