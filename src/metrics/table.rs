//! [`Table`]: rows of cells. A cell is written by one thread; a row is what its cells come to.
//!
//! A row stays, as counters must never go back. Its cells are lent out; one that comes back goes on counting for the next
//! who asks. So a row has as many cells as it ever had writers at a time, however many came one after another.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::task::lock;

/// Rows by key, up to a number of them.
#[derive(Debug)]
pub(super) struct Table<K, C> {
    rows: BTreeMap<K, Arc<Row<C>>>,
    rows_max: usize,
}

#[derive(Debug)]
pub(super) struct Row<C> {
    cells: Mutex<Cells<C>>,
}

#[derive(Debug)]
struct Cells<C> {
    all: Vec<Arc<C>>,
    free: Vec<Arc<C>>,
}

/// A cell, to be written by one thread at a time. It goes back to its row when this is dropped.
#[derive(Debug)]
pub(super) struct Lent<C> {
    cell: Arc<C>,
    row: Arc<Row<C>>,
}

impl<K: Ord, C: Default> Table<K, C> {
    /// A table of so many rows; one more takes what has no room.
    pub(super) const fn new(rows_max: usize) -> Table<K, C> {
        Table {
            rows: BTreeMap::new(),
            rows_max,
        }
    }

    /// The row of a key; that of `other`, if the table is full.
    pub(super) fn row(&mut self, key: K, other: impl FnOnce() -> K) -> Arc<Row<C>> {
        if let Some(row) = self.rows.get(&key) {
            return Arc::clone(row);
        }
        let key = if self.rows.len() < self.rows_max {
            key
        } else {
            other()
        };
        Arc::clone(self.rows.entry(key).or_insert_with(|| {
            Arc::new(Row {
                cells: Mutex::new(Cells {
                    all: Vec::new(),
                    free: Vec::new(),
                }),
            })
        }))
    }

    /// All rows, in the order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, &Row<C>)> {
        self.rows.iter().map(|(key, row)| (key, &**row))
    }
}

impl<C: Default> Row<C> {
    /// Lends a cell.
    pub(super) fn lend(self: Arc<Row<C>>) -> Lent<C> {
        let cell = {
            let mut cells = lock(&self.cells);
            cells.free.pop().unwrap_or_else(|| {
                let cell = Arc::new(C::default());
                cells.all.push(Arc::clone(&cell));
                cell
            })
        };
        Lent { cell, row: self }
    }

    /// Shows every cell to `read`, lent or not.
    pub(super) fn each(&self, mut read: impl FnMut(&C)) {
        let cells = lock(&self.cells).all.clone();
        for cell in cells {
            read(&cell);
        }
    }
}

impl<C> Deref for Lent<C> {
    type Target = C;

    #[inline(always)]
    fn deref(&self) -> &C {
        &self.cell
    }
}

impl<C> Drop for Lent<C> {
    fn drop(&mut self) {
        lock(&self.row.cells).free.push(Arc::clone(&self.cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::add;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn sum(table: &Table<&str, AtomicU64>, key: &str) -> (u64, usize) {
        let (mut total, mut cells) = (0, 0);
        for (name, row) in table.rows() {
            if *name == key {
                row.each(|cell| {
                    total += cell.load(Ordering::Relaxed);
                    cells += 1;
                });
            }
        }
        (total, cells)
    }

    #[test]
    fn cells_are_lent_again_and_keep_what_they_counted() {
        let mut table: Table<&str, AtomicU64> = Table::new(4);
        for _ in 0..100 {
            let first = table.row("a", || "other").lend();
            let second = table.row("a", || "other").lend();
            add(&first, 1);
            add(&second, 2);
        }
        assert_eq!(sum(&table, "a"), (300, 2));
    }

    #[test]
    fn what_has_no_room_is_counted_together() {
        let mut table: Table<&str, AtomicU64> = Table::new(2);
        for key in ["a", "b", "c", "d", "a"] {
            add(&table.row(key, || "other").lend(), 1);
        }
        let keys: Vec<&str> = table.rows().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["a", "b", "other"]);
        assert_eq!(sum(&table, "other").0, 2);
        assert_eq!(sum(&table, "a").0, 2);
    }
}
