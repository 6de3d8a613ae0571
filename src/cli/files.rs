//! How many files and sockets the process may have open.

/// Files that are none of clients' connections.
const OTHERS: u64 = 64;

/// Raises the bound as far as it may be, up to what so many connections need. Returns how many connections fit, if those
/// are fewer.
#[cfg(target_os = "linux")]
pub(super) fn make_room(connections: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let wanted = connections.saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is as many as one likes.
    let current = current.filter(|current| *current < wanted)?;
    let possible = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit {
        current: Some(possible),
        maximum,
    };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => possible,
        Err(_) => current,
    };
    (granted < wanted).then(|| granted.saturating_sub(OTHERS))
}

/// Elsewhere nobody has looked.
#[cfg(not(target_os = "linux"))]
pub(super) fn make_room(_connections: u64) -> Option<u64> {
    None
}
