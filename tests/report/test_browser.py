"""The page in a real browser: tabs, sorting, filters, keyboard, colours, phone and paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ood_toolkit.report import render
from ood_toolkit.report.bands import precision_recall, roc, wilson
from tests.report.conftest import Opener
from tests.report.documents import METHODS, document
from tests.report.test_page import HOSTILE

pytestmark = pytest.mark.xdist_group("browser")

MEANS = {(m["method"], m["group"]): m for m in document()["means"]}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
TRANSPARENT = "rgba(0, 0, 0, 0)"


def ranked(group: str, key: str = "auroc", largest_first: bool = True) -> list[str]:
    return sorted(METHODS, key=lambda m: MEANS[m, group][key], reverse=largest_first)


def listed(page: Any) -> list[str]:
    """Methods of the open tab's table that can be seen, from the top."""
    rows = page.locator(".board:not([hidden]) tbody tr:not([hidden]) th.method")
    return [text.strip() for text in rows.all_inner_texts()]


def heading(page: Any, name: str) -> Any:
    return page.locator(".board:not([hidden]) thead th").filter(has_text=name).first


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_opens_with_the_best_method_and_its_curves(opened: Opener) -> None:
    page = opened()
    assert page.title() == "Out-of-distribution detection: dogs"
    assert listed(page) == ranked("all")
    assert page.locator("#detail-title").inner_text() == ranked("all")[0]
    assert page.locator("#detail-pairs svg.chart").count() == 3 * 3
    assert page.locator("#detail-rows svg.chart").count() == 2
    assert page.locator("#cost svg.chart a").count() == len(METHODS)
    assert page.locator("#reliability circle").count() > 3
    assert page.locator(".specimens img").count() == 4 * 6
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth === 6)")


def test_tabs_by_pointer_and_by_arrow_keys(opened: Opener) -> None:
    page = opened()
    page.get_by_role("tab", name="Near-OOD").click()
    assert listed(page) == ranked("near")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "Far-OOD"
    assert listed(page) == ranked("far")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "All sets"
    page.keyboard.press("End")
    assert focused(page) == "Far-OOD"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    chosen = page.get_by_role("tab", selected=True)
    assert chosen.inner_text() == "Far-OOD"
    assert page.locator('[role="tab"][tabindex="0"]').count() == 1
    assert page.locator('[role="tabpanel"]:visible').count() == 1
    assert page.locator('[role="tabpanel"]:visible').get_attribute("id") == chosen.get_attribute(
        "aria-controls"
    )


def test_any_column_sorts_both_ways(opened: Opener) -> None:
    page = opened()
    fpr = heading(page, "FPR@95")
    fpr.get_by_role("button").click()
    assert listed(page) == ranked("all", "fpr", largest_first=False)
    assert fpr.get_attribute("aria-sort") == "ascending"
    fpr.get_by_role("button").press("Enter")
    assert listed(page) == ranked("all", "fpr")
    assert page.locator("#board-0 th[aria-sort]").count() == 1
    heading(page, "Method").get_by_role("button").click()
    assert listed(page) == sorted(METHODS)
    heading(page, "digits").get_by_role("button").click()
    on_digits = {r["method"]: r["auroc"] for r in document()["results"] if r["ood"] == "digits"}
    assert listed(page) == sorted(METHODS, key=lambda m: -on_digits[m])
    heading(page, "score, ms").get_by_role("button").click()
    assert listed(page) == list(METHODS)  # made so that each costs ten times the one before
    page.get_by_role("tab", name="Near-OOD").click()
    assert listed(page) == ranked("near")


def test_search_and_family_filter_every_tab(opened: Opener) -> None:
    page = opened()
    page.get_by_role("searchbox").fill("e")
    assert listed(page) == [m for m in ranked("all") if "e" in m]
    assert page.locator("#count").inner_text() == "2 of 5 methods"
    page.get_by_label("Family").select_option("logits")
    assert listed(page) == ["energy"]
    page.get_by_role("tab", name="Far-OOD").click()
    assert listed(page) == ["energy"]
    page.get_by_role("searchbox").fill("")
    assert set(listed(page)) == {"energy", "msp"}


def test_a_method_opens_by_pointer_and_by_keyboard(opened: Opener) -> None:
    page = opened()
    page.locator("#board-0 tbody tr").nth(2).locator("td").nth(3).click()
    third = ranked("all")[2]
    assert page.locator("#detail-title").inner_text() == third
    page.locator("#board-0").get_by_role("button", name="knn", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.locator("#detail-title").inner_text() == "knn"
    assert focused(page) == "knn"  # the heading, so that a reader goes on there
    assert page.locator("#board-0 tr.chosen").count() == 1
    pressed = page.locator('#board-0 [aria-pressed="true"]')
    assert pressed.inner_text() == "knn"
    page.locator("#cost a").first.focus()
    page.keyboard.press("Enter")
    named = page.locator("#cost .dot.chosen").locator("..").get_attribute("aria-label")
    assert named.startswith(page.locator("#detail-title").inner_text() + ":")


def test_curves_of_two_methods_and_of_either_positive_set(opened: Opener) -> None:
    page = opened()
    page.get_by_label("Compare with").select_option("vim")
    assert page.locator("#detail-pairs .curve.other").count() == 3 * 2
    assert page.locator("#detail-key").inner_text().count("vim") == 1
    page.get_by_label("PR positive").select_option("ood")
    assert page.locator("#detail-pairs").get_by_text("recall of OOD rows").count() == 3
    page.get_by_label("Compare with").select_option("")
    assert page.locator("#detail-pairs .curve.other").count() == 0


def test_bands_are_those_of_the_python_figures(opened: Opener) -> None:
    page = opened()
    for pair in document()["pictures"]["pairs"][:3]:
        counts = [pair["at_or_above"]["id"], pair["at_or_above"]["ood"]]
        drawn = page.evaluate("c => roc(c)", counts)
        for name, points in roc(*counts)._asdict().items():
            assert drawn[name] == [pytest.approx(point, abs=1e-9) for point in points]
        for positive in ("id", "ood"):
            drawn = page.evaluate("([c, p]) => precisionRecall(c, p)", [counts, positive])
            for name, points in precision_recall(*counts, positive)._asdict().items():
                assert drawn[name] == [pytest.approx(point, abs=1e-9) for point in points]
    assert page.evaluate("wilson(3, 17, Z_SINGLE)") == pytest.approx(wilson(3, 17), abs=1e-9)


def luminance(color: str) -> float:
    """Of "rgb(r, g, b)", as WCAG 2 defines it."""
    channels = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


CONTRASTS = """() => {
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Map();
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const svg = node instanceof SVGElement;
    const pair = [svg ? style.fill : style.color, behind(node)];
    found.set(pair.join(), [...pair, texts.currentNode.data.trim().slice(0, 40)]);
  }
  return [...found.values()];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(opened: Opener, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 4
    for front, back, text in found:
        light, dark = sorted((luminance(front), luminance(back)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back, text)


def test_dark_by_the_system_and_by_the_button(opened: Opener) -> None:
    def background(page: Any) -> float:
        return luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page = opened(color_scheme="dark")
    assert background(page) < 0.05
    button = page.locator("#theme")
    button.click()
    assert (button.inner_text(), background(page)) == ("Light", 1.0)
    button.click()
    assert background(page) < 0.05
    light = opened(color_scheme="light")
    assert background(light) == 1.0
    light.locator("#theme").click()
    light.locator("#theme").click()
    assert light.locator("#theme").inner_text() == "Dark"
    assert background(light) < 0.05


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_the_table_and_not_the_page(opened: Opener, width: int) -> None:
    page = opened(**{**PHONE, "viewport": {"width": width, "height": 844}})
    wide = "[document.documentElement.scrollWidth, window.innerWidth]"
    assert page.evaluate(wide) == [width, width]
    box = page.locator("#board-0 .scroll")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    box.evaluate("e => e.scrollLeft = 200")
    name = page.locator("#board-0 tbody th.method").first.bounding_box()
    assert 0 <= name["x"] < 30  # the method stays in sight
    page.locator("#board-0 tbody tr").first.tap()
    assert page.evaluate(wide) == [width, width]
    chart = page.locator("#detail-pairs svg").first.bounding_box()
    assert chart["x"] >= 0
    assert chart["x"] + chart["width"] <= width


def test_everything_is_reached_by_the_tab_key_and_focus_is_seen(opened: Opener) -> None:
    page = opened()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        at = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.id || e.textContent.trim().slice(0, 20), s.outlineStyle, e.tagName]; }"
        )
        seen.append(at)
        if at[0] == "other":
            break
    names = [name for name, _, _ in seen]
    order = ["theme", "search", "family", "tab-0", "AUROC", *ranked("all"), "other"]
    places = [names.index(name) for name in order]
    assert places == sorted(places)
    assert all(outline != "none" for _, outline, tag in seen if tag != "svg")


def test_on_paper_there_are_no_controls_and_light_colours(opened: Opener) -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("#theme", ".controls >> nth=0", '[role="tablist"]'):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#board-0 table").is_visible()
    assert page.locator("#detail-pairs svg").first.is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    across = 277 / 25.4 * 96  # millimetres of a landscape page within its margins, in pixels
    page.set_viewport_size({"width": round(across), "height": 700})
    assert page.locator("#board-0 table").bounding_box()["width"] <= across


def test_without_a_script_the_tables_of_all_tabs_are_there(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("table:visible").count() == 3 + 1
    assert page.locator("#board-1 h3").is_visible()
    for gone in ("#search", '[role="tablist"]', "#detail", "#overall", "#theme"):
        assert not page.locator(gone).is_visible()


def test_hostile_names_are_shown_and_not_run(opened: Opener, tmp_path: Path) -> None:
    sets = tuple(f"far/{name.replace('/', '∕')}" for name in HOSTILE[:3])
    results = document((*HOSTILE, "energy"), sets, rows=80, text=HOSTILE[0])
    results["run"] = {"command": list(HOSTILE), "versions": dict.fromkeys(HOSTILE, HOSTILE[1])}
    path = tmp_path / "hostile.html"
    path.write_text(render(results), encoding="utf-8")
    page = opened(path)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0
    shown = page.locator("#board-0 tbody th.method button").evaluate_all(
        "all => all.map(e => e.textContent)"
    )
    assert set(shown) == {*HOSTILE, "energy"}
    for number in range(len(HOSTILE)):
        page.locator(f'#board-0 tr[data-method="{number}"] button').click()
        title = page.locator("#detail-title").evaluate("e => e.textContent")
        assert title == HOSTILE[number]
    page.get_by_label("Compare with").select_option(index=2)


def test_results_without_pictures_or_groups_still_open(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "bare.html"
    results = json.loads(json.dumps(document(("energy",), ("one",), pictures=False)))
    path.write_text(render(results), encoding="utf-8")
    page = opened(path)
    assert listed(page) == ["energy"]
    assert page.locator("svg.chart").count() == 0
    assert "no pictures" in page.locator("#detail").inner_text()
    assert not page.locator("#overall").is_visible()
    assert not page.get_by_role("tablist").is_visible()
