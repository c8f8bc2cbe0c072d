
// ---- the page -----------------------------------------------------------------------------

document.documentElement.classList.add("js");
const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const state = { method: DATA.first, other: null };

// ---- tabs: arrow keys move, Home and End jump -----------------------------------------------

const tabs = all('[role="tab"]');

function openTab(number, focus) {
  tabs.forEach((tab, n) => {
    tab.setAttribute("aria-selected", String(n === number));
    tab.tabIndex = n === number ? 0 : -1;
    byId(`board-${n}`).hidden = n !== number;
  });
  if (focus) tabs[number].focus();
}

tabs.forEach((tab, number) => {
  tab.addEventListener("click", () => openTab(number, false));
  tab.addEventListener("keydown", (event) => {
    const target = { ArrowRight: number + 1, ArrowLeft: number - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    openTab((target + tabs.length) % tabs.length, true);
  });
});

// ---- sorting ----------------------------------------------------------------------------------

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y) ? x - y : a.localeCompare(b);
}

/** Rows without a figure stay last, whichever way the others go. */
function sortBy(heading, column) {
  const now = heading.getAttribute("aria-sort");
  const first = heading.hasAttribute("data-ascending") ? "ascending" : "descending";
  const way = now === null ? first : now === "ascending" ? "descending" : "ascending";
  all("th[aria-sort]", heading.closest("thead")).forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", way);
  const body = heading.closest("table").tBodies[0];
  const keyed = [...body.rows].map((row) => [row.cells[column].dataset.value, row]);
  const known = keyed.filter(([key]) => key !== undefined);
  known.sort((a, b) => (way === "ascending" ? 1 : -1) * compare(a[0], b[0]));
  body.append(...known.map(([, row]) => row), ...keyed.filter(([key]) => key === undefined).map(([, row]) => row));
}

for (const heading of all(".board thead th:not(.fixed)")) {
  const button = element("button", { type: "button" }, heading.textContent);
  heading.replaceChildren(button);
  button.addEventListener("click", () => sortBy(heading, heading.cellIndex));
}

// ---- search and filter -----------------------------------------------------------------------

function filter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const family = byId("family").value;
  let shown = 0;
  for (const row of all(".board tbody tr")) {
    const name = DATA.methods[row.dataset.method].name.toLowerCase();
    row.hidden = (family !== "" && row.dataset.family !== family) || !words.every((word) => name.includes(word));
    shown += !row.hidden && row.closest(".board").id === "board-0";
  }
  byId("count").textContent = `${shown} of ${DATA.methods.length} methods`;
}

byId("search").addEventListener("input", filter);
byId("family").addEventListener("change", filter);

// ---- one method --------------------------------------------------------------------------------

function panel(title, text, drawn) {
  return element("figure", {}, element("figcaption", {}, element("b", {}, `${title} `), text), drawn);
}

function showPair(method, other, number) {
  const pair = DATA.pairs[state.method][number];
  const set = DATA.sets[number];
  const [auroc, fpr, auprIn, auprOut] = DATA.figures[state.method][number];
  const section = element("section", { class: "pair" });
  section.append(element("h3", {}, `${set.name}${set.group ? ` (${set.group})` : ""}`));
  section.append(element("p", { class: "note" }, `${set.rows.toLocaleString("en")} rows; AUROC ${percent(auroc)} %, FPR@${+(100 * DATA.tpr).toPrecision(6)} ${percent(fpr)} %, AUPR-in ${percent(auprIn)} %, AUPR-out ${percent(auprOut)} %`));
  if (pair) {
    const label = `${method.name} on ${set.name}, AUROC ${percent(auroc)} percent`;
    const second = other === null ? null : DATA.pairs[state.other][number];
    const positive = byId("positive").value;
    section.append(element("div", { class: "panels" },
      panel("Scores", "End bins hold all beyond them.", histogram(pair, label)),
      panel("ROC", "ID positive; 95 % band.", rocChart(pair, second, label)),
      panel("Precision–recall", `${positive.toUpperCase()} positive; 95 % band.`, precisionChart(pair, second, positive, label))));
  }
  const odd = specimens(DATA.extremes[state.method][number], number);
  if (odd) section.append(element("p", { class: "note" }, "Highest-scoring rows, those most taken for ID:"), odd);
  return section;
}

/** Rows as pictures, texts or numbers; null where there are none. */
function specimens(rows, set) {
  if (!rows || !rows.length) return null;
  const list = element("ul", { class: "specimens" });
  for (const [row, score] of rows) {
    const known = DATA.specimens[set][row] || {};
    const words = [`row ${row}`, `score ${short(score)}`];
    if (known.prediction !== undefined) words.push(`predicted ${known.prediction}`);
    if (known.label !== undefined) words.push(`label ${known.label}`);
    const item = element("li", {});
    if (known.image) item.append(element("img", { src: known.image, alt: `Row ${row}`, title: words.join(", ") }));
    if (known.text) item.append(element("q", {}, known.text));
    item.append(known.image ? short(score) : words.join(", "));
    list.append(item);
  }
  return list;
}

function showMethod(number, focus) {
  state.method = number;
  const method = DATA.methods[number];
  const other = state.other === null ? null : DATA.methods[state.other];
  byId("detail-title").textContent = method.name;
  byId("detail-about").textContent = [method.summary, method.reference && `${method.reference}.`, `Reads: ${method.family}.`].filter(Boolean).join(" ");
  const drawn = DATA.pairs[number].some(Boolean);
  byId("detail-key").replaceChildren(
    element("span", { class: "id" }, `ID (${DATA.id}); curve of ${method.name}`),
    element("span", { class: "ood" }, "OOD"),
    ...(other ? [element("span", { class: "other" }, `curve of ${other.name}`)] : []));
  byId("detail-key").hidden = !drawn;
  byId("detail-pairs").replaceChildren(...DATA.sets.map((_, n) => showPair(method, other, n)));
  if (!drawn) byId("detail-pairs").prepend(element("p", { class: "note" }, "The results hold no pictures, so there are no curves to draw."));
  const rows = byId("detail-rows");
  rows.replaceChildren();
  if (method.risk[0].length) rows.append(panel("Risk–coverage", "On ID rows; dotted: the best possible order.", riskChart(method, other)));
  if (method.groups.length) rows.append(panel("Accuracy by score", "ID rows in groups of equal number; 95 % Wilson intervals.", scoreChart(method)));
  const low = specimens(DATA.extremes[number][DATA.sets.length], DATA.sets.length);
  if (low) rows.append(panel("Lowest-scoring ID rows", "Those most taken for OOD.", low));
  all(".board tbody tr").forEach((row) => row.classList.toggle("chosen", Number(row.dataset.method) === number));
  all(".board tbody th button").forEach((b) => b.setAttribute("aria-pressed", String(Number(b.closest("tr").dataset.method) === number)));
  showCost();
  if (focus) {
    byId("detail").scrollIntoView();
    byId("detail-title").focus({ preventScroll: true });
  }
}

function showCost() {
  const drawn = costChart(DATA.methods, state.method, window.innerWidth > 760);
  byId("cost").closest("figure").hidden = drawn === null;
  byId("cost").replaceChildren(...(drawn ? [drawn] : []));
}

for (const heading of all(".board tbody th")) {
  const button = element("button", { type: "button", "aria-controls": "detail" }, ...heading.childNodes);
  heading.replaceChildren(button);
}
for (const body of all(".board tbody")) {
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) showMethod(Number(row.dataset.method), true);
  });
}
byId("cost").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  showMethod(Number(link.dataset.method), true);
});

DATA.methods.forEach((method, number) => byId("other").append(element("option", { value: number }, method.name)));
byId("other").addEventListener("change", (event) => {
  state.other = event.target.value === "" ? null : Number(event.target.value);
  showMethod(state.method, false);
});
byId("positive").addEventListener("change", () => showMethod(state.method, false));

// ---- colours ----------------------------------------------------------------------------------

const THEMES = [["", "Auto", "as the system has them"], ["light", "Light", "light"], ["dark", "Dark", "dark"]];
let theme = 0;
byId("theme").addEventListener("click", () => {
  theme = (theme + 1) % THEMES.length;
  const [name, text, told] = THEMES[theme];
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = text;
  byId("theme").setAttribute("aria-label", `Colours: ${told}`);
});

// ---- begin --------------------------------------------------------------------------------------

if (DATA.classifier.length) byId("reliability").append(reliabilityChart(DATA.classifier));
byId("reliability").closest("figure").hidden = !DATA.classifier.length;
openTab(0, false);
filter();
showMethod(state.method, false);
byId("overall").hidden = byId("cost").closest("figure").hidden && !DATA.classifier.length;
window.addEventListener("resize", showCost);
