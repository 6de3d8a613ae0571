//! Definitions from arbitrary bytes: read, checked and, if they are good, compiled. Nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quickstep::asl::{self, MachineType};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for machine_type in [MachineType::Express, MachineType::Standard] {
        let reading = asl::read(text, machine_type);
        // Refused without saying why would leave the user with nothing.
        let Some(definition) = reading.definition else {
            assert!(
                !reading.diagnostics.is_empty(),
                "refused without a diagnostic"
            );
            continue;
        };
        let _ = quickstep::compile::compile(&definition);
    }
});
