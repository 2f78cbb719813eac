"""docs/reports.md: every report has a test, and every test that the page names is there."""

import re

from gateway import ROOT

TEST = re.compile(r"\[`(\w+)`\]\(\.\./(\S+?)\)")


def test_every_test_that_the_page_names_is_there():
    lines = (ROOT / "docs" / "reports.md").read_text().splitlines()
    reports = [line for line in lines if "](https://github.com/" in line]
    assert len(reports) == 12
    for report in reports:
        tests = TEST.findall(report)
        assert tests, report
        for name, path in tests:
            assert re.search(rf"^ *(async )?(def|fn) {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path} has no {name}"
