#!/usr/bin/env python3
"""Pages of the load tester, opened in Chromium: page_test.py LOADTEST [CHROMIUM]

Whether they have no error, whether each plot is drawn and nothing hangs over, on a wide and on a narrow screen, and
whether they print. What is measured is measured by a script that is added to a copy: the pages have none.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

DATA = pathlib.Path(__file__).resolve().parents[2] / "benches" / "data"
ORDER = ["--definition", DATA / "order.asl.json", "--events", DATA / "order.ndjson", "--tasks", DATA / "tasks.json"]
WIDTHS = (1280, 400)
# Opening a page takes a second or two; whatever takes so long has gone wrong.
PATIENCE = 180

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

# Measures the page; a frame has any width, a window has not.
SCRIPT = """<script>
const box = (element) => element.getBoundingClientRect();
const plots = [...document.querySelectorAll("svg.plot")].map((svg) => ({
  id: svg.id, width: box(svg).width, height: box(svg).height,
  lines: [...svg.querySelectorAll(".line, circle")].map((line) => box(line).width + box(line).height),
  over: [...svg.querySelectorAll("text")].filter((text) => box(text).width > 0
    && (box(text).left < box(svg).left - 1 || box(text).right > box(svg).right + 1)).map((text) => text.textContent),
  letters: Math.min(...[...svg.querySelectorAll("text")].map((text) => box(text).height).filter((height) => height > 0)),
  title: document.getElementById(svg.getAttribute("aria-labelledby").split(" ")[0]).textContent,
  rows: svg.closest("figure").querySelectorAll("tbody tr").length,
}));
parent.postMessage(JSON.stringify({
  plots, width: innerWidth, content: document.documentElement.scrollWidth,
  tables: document.querySelectorAll("table").length,
}), "*");
</script>"""

OUTER = """<!DOCTYPE html><html><body><pre id="measured"></pre><script>
addEventListener("message", (event) => { document.getElementById("measured").textContent = event.data; });
</script><iframe src="inner.html" style="width: %dpx; height: 900px; border: 0"></iframe></body></html>"""


class Pages(unittest.TestCase):
    """Real results, and one that tries to break out."""

    loadtest = ""
    chromium = ""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        run = cls.load("run", "--target", "null", "--rate", "2000", "--duration", "2s", "--interval", "200ms")
        sweep = cls.load("sweep", "--target", "embedded", *ORDER, "--step", "1s", "--interval", "100ms", "--shares", "10,20,30")
        hostile = json.loads(run.read_text(encoding="utf-8"))
        hostile["runs"][0]["label"] = "</svg></title><script>document.body.remove()</script><img src=x onerror=alert(1)>" + "x" * 300
        hostile["runs"][0]["series"] = hostile["runs"][0]["series"][:1]
        hostile["problem"] = "\"'><b>"
        breaking = cls.folder / "hostile.json"
        breaking.write_text(json.dumps(hostile), encoding="utf-8")
        cls.pages = {
            "run": cls.report("run", [run]),
            "sweep": cls.report("sweep", [sweep], *ORDER, "--task-ms", "80"),
            "all": cls.report("all", [run, sweep, breaking]),
        }

    @classmethod
    def load(cls, command, *words):
        """Runs a load test; what comes of it on a busy machine does not matter here."""
        result = cls.folder / f"{command}.json"
        words = [cls.loadtest, command, *map(str, words), "--warm-up", "100ms", "--quiet", "--json", str(result)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert ran.returncode in (0, 1) and result.exists(), ran.stderr
        return result

    @classmethod
    def report(cls, name, results, *words):
        page = cls.folder / f"{name}.html"
        words = [cls.loadtest, "report", *map(str, results), "-o", str(page), *map(str, words)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert ran.returncode == 0, ran.stderr
        return page

    def browse(self, *words):
        """What Chromium prints, and what it complains of."""
        with tempfile.TemporaryDirectory() as profile:
            words = [self.chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--enable-logging=stderr", "--allow-file-access-from-files", f"--user-data-dir={profile}", *words]
            ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        # "CONSOLE" stands before what a page's errors are.
        return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]

    def measure(self, page, width):
        text = page.read_text(encoding="utf-8")
        inner, count = POLICY.subn("", text)
        self.assertEqual(count, 1)
        (self.folder / "inner.html").write_text(inner.replace("</body>", SCRIPT + "</body>"), encoding="utf-8")
        outer = self.folder / "outer.html"
        outer.write_text(OUTER % width, encoding="utf-8")
        out, errors = self.browse("--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom", outer.as_uri())
        self.assertEqual(errors, [])
        found = re.search(r'<pre id="measured">(.+?)</pre>', out, re.DOTALL)
        self.assertIsNotNone(found, out[:2000])
        return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

    def test_every_plot_is_drawn_at_every_width(self):
        for name, plots, tables in (("run", 5, 7), ("sweep", 6, 10), ("all", 6, 9)):
            for width in WIDTHS:
                with self.subTest(page=name, width=width):
                    found = self.measure(self.pages[name], width)
                    self.assertEqual(found["width"], width)
                    # Wide tables scroll within themselves.
                    self.assertLessEqual(found["content"], width)
                    self.assertEqual((len(found["plots"]), found["tables"]), (plots, tables))
                    for plot in found["plots"]:
                        self.assertGreater(plot["width"], width / 3, plot)
                        self.assertGreater(plot["height"], plot["width"] / 3, plot)
                        self.assertGreater(len(plot["lines"]), 0, plot)
                        self.assertGreater(min(plot["lines"]), 0, plot)
                        self.assertEqual(plot["over"], [], plot)
                        self.assertGreater(plot["letters"], 9, plot)
                        self.assertGreater(len(plot["title"]), 3)
                        self.assertGreater(plot["rows"], 0, plot)

    def test_pages_have_no_error_and_no_script(self):
        for name, page in self.pages.items():
            with self.subTest(page=name):
                text = page.read_text(encoding="utf-8")
                for absent in ("<script", "<img", "<link", "<iframe", "url(", "@import"):
                    self.assertNotIn(absent, text)
                self.assertEqual(re.findall(r'(?:src|href)="[^"#]', text), [])
                picture = self.folder / f"{name}.png"
                _, errors = self.browse("--window-size=1280,2400", f"--screenshot={picture}", page.as_uri())
                self.assertEqual(errors, [])
                # An empty page of that size is far smaller.
                self.assertGreater(picture.stat().st_size, 40_000)

    def test_pages_print(self):
        for name, page in self.pages.items():
            with self.subTest(page=name):
                printed = self.folder / f"{name}.pdf"
                _, errors = self.browse("--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
                self.assertEqual(errors, [])
                data = printed.read_bytes()
                self.assertTrue(data.startswith(b"%PDF-"))
                pages = len(re.findall(rb"/Type\s*/Page\b", data))
                self.assertTrue(1 <= pages <= 8, pages)

    def test_what_a_month_costs_is_told(self):
        text = self.pages["sweep"].read_text(encoding="utf-8")
        for present in ("The same load on AWS", "STANDARD", "a call of a task is taken to last 80 ms", "us-east-1"):
            self.assertIn(present, text)
        # Each of its runs has both bills.
        rows = re.findall(r"(<td>\$[0-9,.]+</td>){2}</tr>", text)
        self.assertGreaterEqual(len(rows), 2)
        self.assertNotIn("The same load on AWS", self.pages["run"].read_text(encoding="utf-8"))
        words = [self.loadtest, "report", str(self.folder / "run.json"), "-o", str(self.folder / "none.html"), *map(str, ORDER)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertTrue(ran.returncode == 2 and "--task-ms" in ran.stderr, ran.stderr)

    def test_what_is_no_result_is_refused(self):
        wrong = self.folder / "wrong.json"
        for text, expected in (("{}", "it has no schema"), ("", "no result of a test"), ('{"schema": "x/2"}', "this version reads")):
            wrong.write_text(text, encoding="utf-8")
            ran = subprocess.run([self.loadtest, "report", str(wrong), "-o", str(self.folder / "none.html")],
                                 capture_output=True, text=True, timeout=PATIENCE, check=False)
            self.assertEqual(ran.returncode, 2)
            self.assertIn("wrong.json: ", ran.stderr)
            self.assertIn(expected, ran.stderr)
            self.assertFalse((self.folder / "none.html").exists())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    Pages.loadtest = sys.argv[1]
    Pages.chromium = sys.argv[2] if len(sys.argv) == 3 else shutil.which("chromium") or sys.exit("there is no chromium")
    unittest.main(argv=sys.argv[:1], verbosity=2)
