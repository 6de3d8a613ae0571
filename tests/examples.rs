//! Every definition that is shipped as an example or a benchmark is accepted without a complaint.

use quickstep::asl::{self, MachineType};
use std::fs;
use std::path::{Path, PathBuf};

fn definitions(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            definitions(&path, found);
        } else if path.to_string_lossy().ends_with(".asl.json") {
            found.push(path);
        }
    }
}

#[test]
fn definitions_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    definitions(&root.join("examples"), &mut found);
    definitions(&root.join("benches/data"), &mut found);
    assert!(found.len() >= 15, "{found:?}");
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        // Callbacks and `.sync` make a definition STANDARD.
        let is_standard = [".waitForTaskToken", ".sync"]
            .iter()
            .any(|suffix| text.contains(&format!("{suffix}\"")));
        let machine_type = if is_standard {
            MachineType::Standard
        } else {
            MachineType::Express
        };
        let reading = asl::read(&text, machine_type);
        assert!(
            reading.definition.is_some() && reading.diagnostics.is_empty(),
            "{}: {:#?}",
            path.display(),
            reading.diagnostics
        );
    }
}
