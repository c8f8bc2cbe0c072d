"""The page as a file: what it holds, what it refuses, and that hostile names stay names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from ood_toolkit.errors import InputError, MissingDependency
from ood_toolkit.report import render
from ood_toolkit.report.results import Results
from tests.report.documents import METHODS, document

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "' onmouseover='alert(1)",
    "\u2028line\u2029 & &amp; ]]>",
    "javascript:alert(1)",
    "__proto__",
    "a\\",
)


class Reader(HTMLParser):
    """Tags with their attributes, the text of every script and style, and table cells by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr", "input", "br", "img", "circle", "line"):
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.inside.append((*self.tags[-1], data))
        if "td" in self.open or "th" in self.open:
            self.cells[-1][-1] += data


def boards(page: str) -> list[list[str]]:
    """Cells of the lines of all leaderboards."""
    return [row for row in Reader(page).cells if row[0].strip().isdigit() and len(row) > 6]


@pytest.fixture(scope="module")
def page() -> str:
    return render(document())


def payload(page: str) -> Any:
    blocks = [text for tag, a, text in Reader(page).inside if a.get("id") == "data"]
    return json.loads("".join(blocks))


def test_the_leaderboard_is_there_without_a_script(page: str) -> None:
    rows = boards(page)
    assert len(rows) == 3 * len(METHODS)  # all, near, far
    best_first = [row[1].strip() for row in rows[: len(METHODS)]]
    means = {m["method"]: m["auroc"] for m in document()["means"] if m["group"] == "all"}
    assert best_first == sorted(METHODS, key=lambda m: -means[m])
    assert float(rows[0][2]) == pytest.approx(100 * means[best_first[0]], abs=0.005)


def test_intervals_stand_beside_the_figures(page: str) -> None:
    (first,) = [r for r in document()["results"] if (r["method"], r["ood"]) == ("knn", "cats")]
    low, high = (f"{100 * end:.1f}" for end in first["auroc_ci"])
    assert f"<small>{low}–{high}</small>" in page


def test_how_intervals_are_made_is_said(page: str) -> None:
    text = " ".join(page.split())
    assert (
        "FPR by the likelihood ratio of both sets, AUPR by Student’s t on the logit scale" in text
    )
    assert "FPR by stratified bootstrap" not in text


def test_methods_that_cannot_be_told_apart_share_a_letter() -> None:
    tied = document() | {
        "comparisons": {
            "test": "paired DeLong",
            "correction": "holm",
            "level": 0.05,
            "tables": [
                {"ood": "cats", "tie_groups": [["energy", "react"]]},
                {"group": "all", "tie_groups": [["energy", "msp"], ["msp", "knn"]]},
            ],
        }
    }
    letters = {row[1].strip(): row[2] for row in boards(render(tied))[: len(METHODS)]}
    assert letters == {"energy": "a", "msp": "ab", "knn": "b", "vim": "", "react": ""}
    assert "paired DeLong test of every two means" in render(tied)


def test_nothing_is_asked_of_a_network(page: str) -> None:
    for tag, attributes in Reader(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action", "xlink:href", "srcset"):
                assert str(value).startswith("#")
    style = "".join(text for tag, _, text in Reader(page).inside if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_names_exactly_the_scripts_and_styles_that_are_there(page: str) -> None:
    reader = Reader(page)
    (policy,) = [a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    own = [text for tag, a, text in reader.inside if a.get("type") != "application/json"]
    assert len(own) == 2
    for text in own:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    results = document(
        (name, "energy"), (f"far/{name.replace('/', '∕')}", "near/b"), rows=120, text=name
    )
    results["id"]["name"] = name
    results["skipped"] = [{"method": name, "reason": name}]
    results["run"] = {"command": ["ood-toolkit", name], name: name, "nested": {name: [name]}}
    page = render(results)
    harmless = render(document(("a", "energy"), ("far/a", "near/b"), rows=120, text="a"))
    tags = [tag for tag, _ in Reader(page).tags]
    assert tags.count("script") == [t for t, _ in Reader(harmless).tags].count("script") == 2
    assert tags.count("img") == 0
    assert not any(n.startswith("on") for _, a in Reader(page).tags for n in a)
    drawn = payload(page)
    assert drawn["methods"][0]["name"] == name
    assert next(iter(drawn["specimens"][0].values()))["text"] == name
    assert boards(page)[0][1] in (name, "energy")


def test_only_pictures_that_are_inside_the_file_are_shown() -> None:
    results = document(rows=120)
    for one in results["pictures"]["specimens"]:
        one["image"] = "https://example.org/pixel.png"
    assert "example.org" not in render(results)


def test_five_hundred_pairs_fit() -> None:
    methods = tuple(f"a_method_with_a_name_{n}" for n in range(60))
    sets = tuple(f"{'near' if n < 3 else 'far'}/a_set_with_a_name_{n}" for n in range(8))
    page = render(document(methods, sets, rows=4000, side=40))
    assert len(payload(page)["pairs"]) * len(payload(page)["pairs"][0]) == 480
    assert "data:image/png" in page
    assert len(page.encode()) < 3 * 1024 * 1024


def test_the_convention_and_the_command_are_told() -> None:
    results = document()
    results["convention"] |= {"fpr_rule": "openood", "id_subset": "correct", "fpr_at_tpr": 0.9}
    results["run"] = {"versions": {"numpy": "2.4"}, "command": ["ood-toolkit", "a b"]}
    page = render(results)
    for text in ("openood: as OpenOOD&#39;s", "correctly classified rows only", "FPR@90 TPR"):
        assert text in page
    assert page.index("ood-toolkit &#39;a b&#39;") < page.index("numpy")
    assert "odin" in page
    assert "needs a model" in page


def test_results_without_pictures_make_a_page() -> None:
    page = render(document(pictures=False))
    assert not any(pair for row in payload(page)["pairs"] for pair in row)
    assert "energy" in page


def test_undefined_figures_are_dashes_and_come_last() -> None:
    results = document()
    for row in [*results["results"], *results["means"]]:
        if row["method"] == "energy":
            row |= {"auroc": None, "auroc_ci": [None, None], "fpr": "inf"}
    rows = boards(render(results))[: len(METHODS)]
    assert rows[-1][1:4] == ["energy", "–", "–"]


def test_the_same_results_make_the_same_bytes(page: str) -> None:
    assert render(document()) == page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "no results of an evaluation"),
        ([1, 2], "no results of an evaluation"),
        (document(pictures=False) | {"schema": 2}, "schema 2"),
        (document(pictures=False) | {"results": []}, "no method could run"),
        (document(pictures=False) | {"results": [{"method": "a"}]}, "entry 0 has no 'ood'"),
    ],
)
def test_what_is_no_results_document_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        render(wrong)


def test_without_jinja2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependency, match=r"ood_toolkit\[report\]"):
        render(document(pictures=False))


@pytest.mark.parametrize(
    ("spent", "fit", "score"),
    [
        ({"fit": 2.0, "score": 3.0}, 2.0, 3.0),
        ({"fit": 2.0, "score": 3.0, "sets_from_cache": 1.0}, 2.0, None),
        ({"fit": 0.1, "score": 3.0, "fit_from_cache": 1.0}, None, 3.0),
        ({"fit": 0.0, "score": 0.0, "sets_from_cache": 4.0}, None, None),
        ({}, None, None),
    ],
)
def test_what_an_earlier_run_did_counts_as_unknown_not_as_quick(
    spent: dict[str, float], fit: float | None, score: float | None
) -> None:
    shown = document()
    shown["timings"] = {"knn": spent}
    found = Results(shown)
    assert (found.seconds("knn", "fit"), found.seconds("knn", "score")) == (fit, score)
    assert (found.cost("knn") is None) == (score is None)
