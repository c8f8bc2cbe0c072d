"use strict";

// ---- figures and text -------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 320, height: 214, left: 54, right: 10, top: 10, bottom: 34 };
const Z_SINGLE = 1.959963985; // two-sided 95 %
const Z_BOTH = 2.236476644; // two intervals that hold together with 95 %: each sqrt(0.95)

function element(name, attributes, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "title", "a"].includes(name);
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function percent(value, digits = 2) {
  return value === null || value === undefined ? "–" : (100 * value).toFixed(digits);
}

function short(value) {
  const size = Math.abs(value);
  if (typeof value !== "number") return String(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(1) : String(+value.toPrecision(3));
  return text.replace("-", "−");
}

/** The Wilson interval of a share: hits of rows, at so many standard errors. */
function wilson(hits, rows, z) {
  if (rows === 0) return [0, 1];
  const share = hits / rows;
  const middle = share + (z * z) / (2 * rows);
  const reach = z * Math.sqrt((share * (1 - share)) / rows + (z * z) / (4 * rows * rows));
  const scale = 1 + (z * z) / rows;
  return [Math.max(0, (middle - reach) / scale), Math.min(1, (middle + reach) / scale)];
}

// ---- curves from the counts at or above each threshold ----------------------------------

/** ROC points with ID positive, and the corners of the rectangles that hold them with 95 %. */
function roc(counts) {
  const [id, ood] = counts;
  const [n, m] = [id[id.length - 1], ood[ood.length - 1]];
  const points = id.map((hits, i) => [ood[i] / m, hits / n]);
  const upper = [], lower = [];
  id.forEach((hits, i) => {
    const [tpr, fpr] = [wilson(hits, n, Z_BOTH), wilson(ood[i], m, Z_BOTH)];
    upper.push([fpr[0], tpr[1]]);
    lower.push([fpr[1], tpr[0]]);
  });
  return { points, upper, lower };
}

/** Precision over recall with "id" or "ood" positive; the band from the same rectangles. */
function precisionRecall(counts, positive) {
  let [hits, misses] = counts;
  if (positive === "ood") {
    const below = (list) => list.map((value) => list[list.length - 1] - value).reverse();
    [hits, misses] = [below(counts[1]), below(counts[0])];
  }
  const [n, m] = [hits[hits.length - 1], misses[misses.length - 1]];
  const precision = (tpr, fpr) => (tpr * n + fpr * m > 0 ? (tpr * n) / (tpr * n + fpr * m) : 1);
  const points = [], upper = [], lower = [];
  hits.forEach((hit, i) => {
    if (hit === 0) return; // nothing found yet: precision is not defined by data
    const [tpr, fpr] = [wilson(hit, n, Z_BOTH), wilson(misses[i], m, Z_BOTH)];
    points.push([hit / n, precision(hit / n, misses[i] / m)]);
    upper.push([hit / n, precision(tpr[1], fpr[0])]);
    lower.push([hit / n, precision(tpr[0], fpr[1])]);
  });
  return { points, upper, lower };
}

// ---- one chart ----------------------------------------------------------------------------

/** Round steps between two ends: at most so many. */
function ticks(low, high, most = 5) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.999);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(+v.toPrecision(12));
  return found;
}

/** Axes of a chart, and the functions that put a value on them. */
function chart(label, x, y, box = BOX) {
  const [right, bottom] = [box.width - box.right, box.height - box.bottom];
  const logarithmic = x.log === true;
  const along = (v) => (logarithmic ? Math.log10(v) : v);
  const [x0, x1] = [along(x.low), along(x.high)];
  const atX = (v) => box.left + ((along(v) - x0) / (x1 - x0)) * (right - box.left);
  const atY = (v) => bottom - ((v - y.low) / (y.high - y.low)) * (bottom - box.top);
  const svg = element("svg", { class: "chart", viewBox: `0 0 ${box.width} ${box.height}`, role: "img", "aria-label": label });
  const between = (v, axis) => v >= axis.low && v <= axis.high;
  const powers = logarithmic ? ticks(Math.floor(x0), Math.ceil(x1), 8).filter(Number.isInteger).map((p) => 10 ** p).filter((v) => between(v, x)) : [];
  const xs = x.ticks || (logarithmic ? powers : ticks(x.low, x.high));
  for (const v of y.ticks || ticks(y.low, y.high, 4)) {
    svg.append(element("line", { class: "grid", x1: box.left, x2: right, y1: atY(v), y2: atY(v) }));
    svg.append(element("text", { x: box.left - 5, y: atY(v) + 4, "text-anchor": "end" }, y.format ? y.format(v) : short(v)));
  }
  for (const v of xs) {
    svg.append(element("line", { class: "axis", x1: atX(v), x2: atX(v), y1: bottom, y2: bottom + 4 }));
    svg.append(element("text", { x: atX(v), y: bottom + 15, "text-anchor": "middle" }, x.format ? x.format(v) : short(v)));
  }
  svg.append(element("path", { class: "axis", d: `M${box.left} ${box.top}V${bottom}H${right}` }));
  svg.append(element("text", { class: "title", x: (box.left + right) / 2, y: box.height - 3, "text-anchor": "middle" }, x.title));
  svg.append(element("text", { class: "title", x: 11, y: (box.top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(box.top + bottom) / 2})` }, y.title));
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${atX(a).toFixed(1)} ${atY(b).toFixed(1)}`).join("");
  return {
    svg, atX, atY, bottom, right,
    line: (points, kind) => svg.append(element("path", { class: kind, d: path(points) })),
    band: (upper, lower) => svg.append(element("path", { class: "band", d: path([...upper, ...lower.slice().reverse()]) + "Z" })),
  };
}

const UNIT = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] };

function rocChart(pair, other, label) {
  const made = chart(`ROC curve, ${label}`, { ...UNIT, title: "false-positive rate" }, { ...UNIT, title: "true-positive rate" });
  const found = roc(pair.c);
  made.line([[0, 0], [1, 1]], "chance");
  made.band(found.upper, found.lower);
  if (other) made.line(roc(other.c).points, "curve other");
  made.line(found.points, "curve");
  return made.svg;
}

function precisionChart(pair, other, positive, label) {
  const [n, m] = pair.c.map((list) => list[list.length - 1]);
  const share = (positive === "id" ? n : m) / (n + m);
  const made = chart(`Precision-recall curve with ${positive.toUpperCase()} positive, ${label}`, { ...UNIT, title: `recall of ${positive.toUpperCase()} rows` }, { ...UNIT, title: "precision" });
  const found = precisionRecall(pair.c, positive);
  made.line([[0, share], [1, share]], "chance");
  made.band(found.upper, found.lower);
  if (other) made.line(precisionRecall(other.c, positive).points, "curve other");
  made.line(found.points, "curve");
  return made.svg;
}

function histogram(pair, label) {
  const [low, high, id, ood] = pair.h;
  const shares = [id, ood].map((list) => list.map((v) => v / list.reduce((a, b) => a + b, 0)));
  const most = Math.max(...shares[0], ...shares[1]);
  const made = chart(`Histogram of scores, ${label}`, { low, high, title: "score (larger = more ID)" }, { low: 0, high: most * 1.05, title: "share of rows", format: (v) => `${+(100 * v).toPrecision(3)} %` });
  shares.forEach((list, which) => {
    const steps = [`M${made.atX(low).toFixed(1)} ${made.bottom}`];
    list.forEach((v, i) => {
      const end = made.atX(low + ((i + 1) / list.length) * (high - low)).toFixed(1);
      steps.push(`V${made.atY(v).toFixed(1)}H${end}`);
    });
    made.svg.append(element("path", { class: `bar ${which ? "ood" : "id"}`, d: `${steps.join("")}V${made.bottom}Z` }));
  });
  return made.svg;
}

function riskChart(method, other) {
  const [coverage, risk] = method.risk;
  const end = risk[risk.length - 1];
  const high = Math.max(...risk, ...(other ? other.risk[1] : []), 1e-3) * 1.08;
  const made = chart(`Risk-coverage curve of ${method.name}`, { ...UNIT, title: "coverage: share of ID rows kept" }, { low: 0, high, title: "risk: share of them wrong", format: (v) => `${+(100 * v).toPrecision(3)} %` });
  // the best any score can do: every wrong row is given up first
  const best = Array.from({ length: 61 }, (_, i) => i / 60).concat(1 - end).sort((a, b) => a - b)
    .filter((c) => c > 0).map((c) => [c, Math.max(0, (c - (1 - end)) / c)]);
  made.line(best, "chance");
  if (other) made.line(other.risk[0].map((c, i) => [c, other.risk[1][i]]), "curve other");
  made.line(coverage.map((c, i) => [c, risk[i]]), "curve");
  return made.svg;
}

/** Accuracy with Wilson whiskers over places [x, rows, right]. */
function accuracies(made, places) {
  for (const [x, rows, right] of places) {
    const [low, high] = wilson(right, rows, Z_SINGLE);
    made.svg.append(element("line", { class: "whisker", x1: made.atX(x), x2: made.atX(x), y1: made.atY(low), y2: made.atY(high) }));
    made.svg.append(element("circle", { class: "dot", cx: made.atX(x), cy: made.atY(right / rows), r: 4 }, element("title", {}, `${rows} rows, ${percent(right / rows)} % right`)));
  }
}

function scoreChart(method) {
  const least = Math.min(...method.groups.map(([, , rows, right]) => wilson(right, rows, Z_SINGLE)[0]));
  const made = chart(`Accuracy by score of ${method.name}`, { low: 0.4, high: method.groups.length + 0.6, ticks: method.groups.map((_, i) => i + 1), title: "groups of ID rows, lowest scores first" }, { low: Math.max(0, Math.floor(10 * least - 0.01) / 10), high: 1.005, title: "accuracy" });
  accuracies(made, method.groups.map(([, , rows, right], i) => [i + 1, rows, right]));
  return made.svg;
}

function reliabilityChart(bins) {
  const made = chart("Reliability diagram of the classifier", { ...UNIT, title: "confidence: largest softmax probability" }, { ...UNIT, title: "accuracy" });
  made.line([[0, 0], [1, 1]], "chance");
  accuracies(made, bins.map((bin) => [bin.confidence, bin.rows, bin.right]));
  return made.svg;
}

/** Methods by cost and AUROC; those on the front, the best and the chosen one are named. */
function costChart(methods, chosen, wide) {
  const known = methods.map((method, number) => ({ ...method, number })).filter((m) => m.cost > 0 && m.auroc !== null);
  if (!known.length) return null;
  const costs = known.map((m) => m.cost);
  const aurocs = known.map((m) => m.auroc).sort((a, b) => a - b);
  // one in ten may lie below the axis: a triangle at its foot
  const low = Math.max(0, Math.floor(20 * aurocs[Math.floor(aurocs.length / 10)] - 0.2) / 20);
  const box = wide ? { ...BOX, width: 680, height: 320, right: 24 } : { ...BOX, height: 270, right: 16 };
  const made = chart("Cost against mean AUROC of each method", { low: Math.min(...costs) / 1.6, high: Math.max(...costs) * 1.6, log: true, title: "seconds for 10,000 rows", format: (v) => (v < 0.01 ? v.toExponential(0).replace("-", "−") : String(v)) }, { low, high: 1, title: "mean AUROC", format: (v) => `${+(100 * v).toPrecision(3)} %` }, box);
  const placed = known.map((m) => ({ ...m, x: made.atX(m.cost), y: m.auroc < low ? made.bottom - 5 : made.atY(m.auroc) }));
  for (const m of [...placed].sort((a, b) => (a.number === chosen) - (b.number === chosen))) {
    const kind = { class: `dot${m.number === chosen ? " chosen" : ""}` };
    const r = m.number === chosen ? 6 : 4.5;
    const mark = m.auroc < low ? element("path", { ...kind, d: `M${m.x - r} ${m.y - r}h${2 * r}l${-r} ${2 * r}Z` }) : element("circle", { ...kind, cx: m.x, cy: m.y, r });
    const name = `${m.name}: ${short(m.cost)} s, AUROC ${percent(m.auroc)} %`;
    made.svg.append(element("a", { href: "#detail", "data-method": m.number, "aria-label": name }, element("title", {}, name), mark));
  }
  nameMethods(made.svg, placed, chosen, box);
  return made.svg;
}

/** Names beside the marks, the chosen one first; left out where they would lie on others. */
function nameMethods(svg, placed, chosen, box) {
  const front = new Set();
  let best = -1;
  for (const m of [...placed].sort((a, b) => a.cost - b.cost || b.auroc - a.auroc)) {
    if (m.auroc > best) front.add(m.number);
    best = Math.max(best, m.auroc);
  }
  const rank = (m) => (m.number === chosen ? 2 : front.has(m.number) ? 1 : 0);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const taken = placed.map((m) => [m.x - 5, m.x + 5, m.y]);
  for (const m of [...placed].sort((a, b) => rank(b) - rank(a) || b.auroc - a.auroc)) {
    const length = pen.measureText(m.name).width + 2;
    for (const [start, up] of [[m.x + 8, 0], [m.x - 8 - length, 0], [m.x - length / 2, -12], [m.x - length / 2, 12]]) {
      const [end, y] = [start + length, m.y + up];
      const free = start > box.left && end < box.width && y > box.top && y < box.height - box.bottom - 6;
      if (!free || taken.some(([a, b, c]) => a < end && start < b && Math.abs(c - y) < 10.5)) continue;
      taken.push([start, end, y]);
      svg.append(element("text", { class: "named", x: start, y: y + 4 }, m.name));
      break;
    }
  }
}
