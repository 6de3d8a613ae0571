#!/usr/bin/env python3
"""Tests of record.py, with a tester that writes results without measuring."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import record  # noqa: E402

# Writes a result of the tester's schema: its rate is a thousand times the number of its calls, which it counts in a file.
TESTER = """#!/usr/bin/env python3
import json, pathlib, sys
words = sys.argv[1:]
calls = pathlib.Path(__file__).with_name("calls")
lines = calls.read_text().splitlines() if calls.exists() else []
lines.append(" ".join(words))
calls.write_text("\\n".join(lines) + "\\n")
if pathlib.Path(__file__).with_name("broken").exists() and len(lines) > 2:
    sys.exit("error: the target is gone")
problem = "2 outputs were wrong" if "fanout" in " ".join(words) and pathlib.Path(__file__).with_name("wrong").exists() else None
rate = 1000.0 * len(lines)
times = {name + "_ns": n for n, name in enumerate(("p50", "p90", "p99", "p999", "max"), 1)}
run = {"per_second": rate, "counts": {"right": 1000}, "latency": times,
       "usage": {"tester_cpu_seconds": 0.001, "target_cpu_seconds": 0.002, "tester_rss_bytes": 5, "target_rss_bytes": 0,
                 "steal_seconds": 0.0}}
result = {"schema": "quickstep-loadtest/1", "problem": problem, "machine": {"processor": "P", "cores": 2, "system": "linux"},
          "runs": [run]}
pathlib.Path(words[words.index("--json") + 1]).write_text(json.dumps(result))
sys.exit(1 if problem else 0)
"""


class Records(unittest.TestCase):
    """Each has a folder with the tester in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.tester = self.folder / "tester"
        self.tester.write_text(TESTER, encoding="utf-8")
        self.tester.chmod(0o755)
        self.record = self.folder / "2026-01-02.json"

    def do(self, *words):
        """Exit code and both outputs."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = record.main([str(word) for word in words])
        return code, out.getvalue(), err.getvalue()

    def run_record(self, *words):
        return self.do("run", "--loadtest", self.tester, "--output", self.record, "--scratch", self.folder / "scratch", *words)

    def calls(self):
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines()

    def test_every_row_is_run_once(self):
        code, _, err = self.run_record()
        self.assertEqual((code, err), (0, ""))
        found = record.read(self.record)
        names = [row["name"] for row in found["rows"]]
        self.assertEqual(names, [row.name for row in record.rows()])
        self.assertEqual(len(set(names)), len(names))
        self.assertGreaterEqual(len(names), 16)
        self.assertEqual(found["rows"][0]["cpu_ns_each"], 3_000)
        self.assertEqual(found["machine"]["cores"], 2)
        # Paths of this machine stay out of records.
        self.assertNotIn(str(self.folder), self.record.read_text(encoding="utf-8"))
        half = next(row for row in found["rows"] if "half" in row["name"])
        whole = next(row for row in found["rows"] if row["name"] == "order, HTTP, sync")
        self.assertIn(f"--rate {whole['per_second'] / 2:.0f} ", " ".join(half["arguments"]))
        # All are there: nothing is run again, but if that is wanted.
        count = len(self.calls())
        self.run_record()
        self.assertEqual(len(self.calls()), count)
        self.run_record("--again", "--only", "hello", "--only", "lines")
        self.assertEqual(len(self.calls()), count + 1)
        self.assertEqual([row["name"] for row in record.read(self.record)["rows"]], names)

    def test_a_run_goes_on_where_it_stopped(self):
        (self.folder / "broken").touch()
        code, _, err = self.run_record()
        self.assertEqual(code, 1)
        self.assertIn("the target is gone", err)
        self.assertEqual(len(record.read(self.record)["rows"]), 2)
        (self.folder / "broken").unlink()
        self.assertEqual(self.run_record()[0], 0)
        self.assertEqual(len(self.calls()), len(record.rows()) + 1)
        # Another length is another record.
        code, _, err = self.run_record("--seconds", "9")
        self.assertTrue(code == 1 and "--fresh" in err, err)

    def test_what_was_wrong_is_no_figure(self):
        (self.folder / "wrong").touch()
        code, out, err = self.run_record()
        self.assertTrue(code == 1 and "fanout" in err and "PROBLEM" in out, err)
        text = self.folder / "README.md"
        text.write_text(f"{record.BEGIN}\n{record.END}\n", encoding="utf-8")
        code, _, err = self.do("readme", "--record", self.record, "--file", text)
        self.assertTrue(code == 1 and "had a problem" in err, err)

    def test_the_readme_has_the_newest(self):
        self.run_record()
        text = self.folder / "README.md"
        text.write_text(f"before\n\n{record.BEGIN}\nold\n{record.END}\n\nafter\n", encoding="utf-8")
        words = ("readme", "--record", self.record, "--file", text)
        self.assertEqual(self.do(*words, "--check")[0], 1)
        self.assertEqual(self.do(*words)[0], 0)
        self.assertEqual(self.do(*words, "--check")[0], 0)
        written = text.read_text(encoding="utf-8")
        self.assertTrue(written.startswith("before\n\n") and written.endswith("\n\nafter\n"))
        self.assertIn("| hello, embedded, in memory, 1 core | 1,000 | 1 ns | 3 ns | 3.00 µs |", written)
        text.write_text(written.replace("| 1,000 |", "| 9,000 |"), encoding="utf-8")
        self.assertEqual(self.do(*words, "--check")[0], 1)
        text.write_text("no marks", encoding="utf-8")
        self.assertIn("marks", self.do(*words)[2])

    def test_records_are_compared(self):
        self.run_record("--only", "hello, embedded")
        other = self.folder / "other.json"
        slow = json.loads(self.record.read_text(encoding="utf-8"))
        slow["rows"][0]["per_second"] = 850.0
        slow["rows"][1]["name"] = "something new"
        other.write_text(json.dumps(slow), encoding="utf-8")
        code, out, err = self.do("compare", self.record, other)
        self.assertTrue(code == 1 and "hello, embedded, in memory, 1 core" in err, err)
        self.assertIn("0.85", out)
        self.assertTrue("new" in out and "gone" in out)
        self.assertEqual(self.do("compare", self.record, other, "--within", "20")[0], 0)
        self.assertEqual(self.do("compare", self.record, self.folder / "none.json")[0], 1)

    def test_records_do_not_make_a_tree_dirty(self):
        for status, changed in (("", False), (" M README.md\n", False), (" M benches/record/2026-01-02.json\nM  README.md\n", False),
                                (" M README.md\n M src/lib.rs\n", True), (" M benches/count.rs\n", True)):
            self.assertEqual(record.is_changed(status), changed, status)

    def test_times_have_three_digits(self):
        for nanos, text in ((7, "7 ns"), (999, "999 ns"), (1_234, "1.23 µs"), (99_960, "100 µs"), (12_345_678, "12.3 ms"),
                            (1_500_000_000, "1.50 s")):
            self.assertEqual(record.time(nanos), text)


if __name__ == "__main__":
    unittest.main()
