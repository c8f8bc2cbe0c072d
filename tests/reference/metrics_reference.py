"""Slow twins of the metrics: plain loops, written from the definitions.

Scores are lists of floats, larger = in-distribution.
"""

from __future__ import annotations

import itertools
import math
import statistics

# --- ranking ---------------------------------------------------------------------------


def auroc(id_scores, ood_scores):
    """Share of pairs in the right order, equal pairs half."""
    total = 0.0
    for a in id_scores:
        for b in ood_scores:
            total += 1.0 if a > b else 0.5 if a == b else 0.0
    return total / (len(id_scores) * len(ood_scores))


def called_points(positives, negatives):
    """(true positives, false positives) at each distinct threshold, strictest first."""
    points = []
    for t in sorted(set(positives) | set(negatives), reverse=True):
        points.append((sum(s >= t for s in positives), sum(s >= t for s in negatives)))
    return points


def average_precision(positives, negatives):
    area, before = 0.0, 0
    for tp, fp in called_points(positives, negatives):
        area += (tp - before) / len(positives) * tp / (tp + fp)
        before = tp
    return area


def trapezoid_precision(positives, negatives):
    area, recall, precision = 0.0, 0.0, 1.0
    for tp, fp in called_points(positives, negatives):
        r, p = tp / len(positives), tp / (tp + fp)
        area += (r - recall) * (p + precision) / 2
        recall, precision = r, p
    return area


def negated(scores):
    return [-s for s in scores]


def fpr_first(positives, negatives, tpr):
    """At the highest threshold that calls a share of at least `tpr` of the positives."""
    for tp, fp in called_points(positives, negatives):
        if tp / len(positives) >= tpr:
            return fp / len(negatives)
    raise AssertionError("the last threshold calls all")


def fpr_thinned(positives, negatives, tpr):
    """As OpenOOD reads scikit-learn's curve: collinear equal steps are dropped first."""
    points = called_points(positives, negatives)
    kept = []
    for i, (tp, fp) in enumerate(points):
        if 0 < i < len(points) - 1 and len(points) > 2:
            bend_tp = points[i + 1][0] - 2 * tp + points[i - 1][0]
            bend_fp = points[i + 1][1] - 2 * fp + points[i - 1][1]
            if bend_tp == 0 and bend_fp == 0:
                continue
        kept.append((tp, fp))
    for tp, fp in kept:
        if tp / len(positives) >= tpr:
            return fp / len(negatives)
    raise AssertionError("the last threshold calls all")


def fpr_nearest(positives, negatives, tpr):
    """As energy_ood and Outlier Exposure look: from the first full recall down."""
    points = called_points(positives, negatives)
    full = next(i for i, (tp, _) in enumerate(points) if tp == len(positives))
    best, answer = math.inf, None
    for i in range(full, -1, -1):
        tp, fp = points[i]
        distance = abs(tp / len(positives) - tpr)
        if distance < best:
            best, answer = distance, fp / len(negatives)
    return answer


def fpr_odin(id_scores, ood_scores, low, high, cuts):
    """Mean FPR over the cuts whose TPR lies in the band; None where there is none."""
    total, count = 0.0, 0
    for cut in cuts:
        tpr = sum(s >= cut for s in id_scores) / len(id_scores)
        if low <= tpr <= high:
            total += sum(s > cut for s in ood_scores) / len(ood_scores)
            count += 1
    return total / count if count else None


def detection_error(id_scores, ood_scores):
    best = 0.5
    for tp, fp in called_points(id_scores, ood_scores):
        best = min(best, 0.5 * (1 - tp / len(id_scores)) + 0.5 * fp / len(ood_scores))
    return best


def autc(id_scores, ood_scores):
    """Integral of both error rates over the threshold, a step at a time."""
    both = list(id_scores) + list(ood_scores)
    least, most = min(both), max(both)
    oddness = [[(most - s) / (most - least) for s in part] for part in (id_scores, ood_scores)]
    edges = sorted({0.0, 1.0, *oddness[0], *oddness[1]})
    area = 0.0
    for a, b in itertools.pairwise(edges):
        t = 0.5 * (a + b)
        fpr = sum(s >= t for s in oddness[0]) / len(id_scores)
        fnr = sum(s < t for s in oddness[1]) / len(ood_scores)
        area += (b - a) * 0.5 * (fpr + fnr)
    return area


def delong_variance(id_scores, ood_scores):
    """Sample variances of the two kinds of placement, over their sizes."""
    n, m, a = len(id_scores), len(ood_scores), auroc(id_scores, ood_scores)
    of_id = sum((auroc([s], ood_scores) - a) ** 2 for s in id_scores) / (n - 1)
    of_ood = sum((auroc(id_scores, [s]) - a) ** 2 for s in ood_scores) / (m - 1)
    return of_id / n + of_ood / m


def freedom(of_id, of_ood):
    """Satterthwaite's degrees of freedom of the variance of a sum of two means."""
    variance = uncertainty = 0.0
    for values in (of_id, of_ood):
        n, mean = len(values), math.fsum(values) / len(values)
        of_values = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
        fourth = math.fsum((v - mean) ** 4 for v in values) / n
        variance += of_values / n
        uncertainty += (fourth - of_values**2 * (n - 3) / (n - 1)) / n**3
    return 2 * variance**2 / uncertainty if uncertainty > 1e-25 else math.inf


def placements(id_scores, ood_scores):
    return [
        [auroc([s], ood_scores) for s in id_scores],
        [auroc(id_scores, [s]) for s in ood_scores],
    ]


def delong_freedom(id_scores, ood_scores):
    return freedom(*placements(id_scores, ood_scores))


def variance(of_id, of_ood):
    """Of the sum of the means of two samples."""
    return sum(statistics.variance(values) / len(values) for values in (of_id, of_ood))


def weighted_precision(positives, negatives, weights, other_weights, *, lines):
    """AUPR of weighted scores by the definition, in steps or under straight lines."""
    area, recall, before = 0.0, 0.0, 1.0
    for t in sorted({*positives, *negatives}, reverse=True):
        hits = math.fsum(w for s, w in zip(positives, weights, strict=True) if s >= t)
        false = math.fsum(w for s, w in zip(negatives, other_weights, strict=True) if s >= t)
        precision = hits / (hits + false * len(negatives) / len(positives))
        area += (hits - recall) * ((precision + before) / 2 if lines else precision)
        recall, before = hits, precision
    return area


def precision_influences(positives, negatives, *, lines=False, step=1e-4):
    """By central differences: a row's weight up, the others' of its set down."""
    found = []
    sizes = len(positives), len(negatives)
    for changed in (0, 1):
        values = []
        for row in range(sizes[changed]):
            areas = []
            for sign in (1, -1):
                weights = [[1 / n] * n for n in sizes]
                weights[changed] = [w * (1 - sign * step) for w in weights[changed]]
                weights[changed][row] += sign * step
                areas.append(weighted_precision(positives, negatives, *weights, lines=lines))
            values.append((areas[0] - areas[1]) / (2 * step))
        found.append(values)
    return found


def deviance(counts, expected):
    return 2 * sum(k * math.log(k / e) for k, e in zip(counts, expected, strict=True) if k)


def deviances_of_tables(a, b, share):
    """Of no difference of FPR, for every two scores as thresholds; the shares by search.

    With each pair: the deviance of the negatives, that of the positives, how many of them bind.
    """
    pairs = []
    for t, u in itertools.product(sorted(set(a[0])), sorted(set(b[0]))):
        passing = [(x >= t, y >= u) for x, y in zip(a[1], b[1], strict=True)]
        alone = sum(x > y for x, y in passing), sum(y > x for x, y in passing)
        of_negatives = deviance(alone, [sum(alone) / 2] * 2) if sum(alone) else 0.0
        found, bounds = 0.0, []
        for scores, cut in ((a[0], t), (b[0], u)):
            n = len(scores)
            if sum(s >= cut for s in scores) < share * n:
                bounds.append([s >= cut for s in scores])
            elif sum(s > cut for s in scores) >= share * n:
                bounds.append([s > cut for s in scores])
        if len(bounds) == 1:
            k, n = sum(bounds[0]), len(bounds[0])
            found += deviance((k, n - k), (n * share, n * (1 - share)))
        elif bounds:
            cells = [
                sum((x, y) == cell for x, y in zip(*bounds, strict=True))
                for cell in ((1, 1), (1, 0), (0, 1), (0, 0))
            ]
            n, low, high = sum(cells), max(0.0, 2 * share - 1), share

            def of_cells(x, cells=cells, n=n):
                return deviance(
                    cells, [n * x, n * (share - x), n * (share - x), n * (1 - 2 * share + x)]
                )

            for _ in range(200):
                left, right = low + (high - low) / 3, high - (high - low) / 3
                if of_cells(left) < of_cells(right):
                    high = right
                else:
                    low = left
            found += of_cells((low + high) / 2)
        pairs.append((of_negatives, found, len(bounds)))
    return pairs


def delong_covariance(a_id, a_ood, b_id, b_ood):
    n, m, a, b = len(a_id), len(a_ood), auroc(a_id, a_ood), auroc(b_id, b_ood)
    of_id = sum(
        (auroc([s], a_ood) - a) * (auroc([t], b_ood) - b) for s, t in zip(a_id, b_id, strict=True)
    ) / (n - 1)
    of_ood = sum(
        (auroc(a_id, [s]) - a) * (auroc(b_id, [t]) - b) for s, t in zip(a_ood, b_ood, strict=True)
    ) / (m - 1)
    return of_id / n + of_ood / m


def split_mix(state, count):
    """SplitMix64 in exact integers."""
    mask, numbers = 2**64 - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers, state


# --- open set and selection ------------------------------------------------------------


def ccr_at_fpr(id_scores, correct, ood_scores, fpr):
    k = max(1, math.ceil(fpr * len(ood_scores) - 1e-9))
    threshold = sorted(ood_scores, reverse=True)[k - 1]
    hits = sum(s > threshold and c for s, c in zip(id_scores, correct, strict=True))
    return hits / len(id_scores)


def oscr(id_scores, correct, ood_scores):
    """Area under the points (FPR, CCR), straight lines between them."""
    area, x, y = 0.0, 0.0, 0.0
    for t in sorted(set(id_scores) | set(ood_scores), reverse=True):
        fpr = sum(s >= t for s in ood_scores) / len(ood_scores)
        ccr = sum(s >= t and c for s, c in zip(id_scores, correct, strict=True)) / len(id_scores)
        area += (fpr - x) * (ccr + y) / 2
        x, y = fpr, ccr
    return area


def errors_accepted(correct):
    """Errors among the first 1, 2, ... rows."""
    return [sum(not c for c in correct[:k]) for k in range(1, len(correct) + 1)]


def expected_errors(confidence, correct):
    """Mean of the above over every order that falls in confidence: exhaustive."""
    rows = range(len(confidence))
    sums, orders = [0.0] * len(confidence), 0
    for order in itertools.permutations(rows):
        sorted_confidence = [confidence[i] for i in order]
        if any(a < b for a, b in itertools.pairwise(sorted_confidence)):
            continue
        orders += 1
        for k, e in enumerate(errors_accepted([correct[i] for i in order])):
            sums[k] += e
    return [s / orders for s in sums]


def stable_errors(confidence, correct):
    order = sorted(range(len(confidence)), key=lambda i: -confidence[i])
    return errors_accepted([correct[i] for i in order])


def risks(errors):
    return [e / (k + 1) for k, e in enumerate(errors)]


# --- calibration -----------------------------------------------------------------------


def binned(confidence, correct, edges):
    """(rows, accuracy, mean confidence) of each bin (lower, upper] that holds rows."""
    table = []
    for b, (lower, upper) in enumerate(itertools.pairwise(edges)):
        rows = [
            i for i, c in enumerate(confidence) if (lower < c <= upper) or (b == 0 and c == 0.0)
        ]
        if rows:
            table.append(
                (
                    len(rows),
                    sum(correct[i] for i in rows) / len(rows),
                    sum(confidence[i] for i in rows) / len(rows),
                )
            )
    return table


def even_edges(bins):
    return [k / bins for k in range(bins + 1)]


def mass_edges(confidence, bins):
    """Deal the sorted rows into parts whose sizes differ by at most one, larger parts first."""
    ordered, edges, end = sorted(confidence), [0.0], 0
    for k in range(bins - 1):
        end += len(ordered) // bins + (1 if k < len(ordered) % bins else 0)
        edges.append(ordered[max(end, 1) - 1])
    return sorted({*edges, 1.0})


def ece(table):
    rows = sum(n for n, _, _ in table)
    return sum(n / rows * abs(a - c) for n, a, c in table)


def debiased(table):
    rows, total = sum(n for n, _, _ in table), 0.0
    for n, a, c in table:
        if n > 1:
            total += n / rows * ((a - c) ** 2 - a * (1 - a) / (n - 1))
    return math.sqrt(max(total, 0.0))


def ks_error(confidence, correct):
    """Largest |mean of (correct - confidence) over the rows up to some confidence|."""
    worst = 0.0
    for t in confidence:
        rows = [i for i, c in enumerate(confidence) if c <= t]
        worst = max(worst, abs(sum(correct[i] - confidence[i] for i in rows)))
    return worst / len(confidence)


def smoothed_error(confidence, correct, width, steps=2000, mirrors=4):
    """Mean |smoothed residual| by the midpoint rule; the Gaussian is reflected at 0 and 1."""
    total = 0.0
    for j in range(steps):
        t = (j + 0.5) / steps
        residual = 0.0
        for f, y in zip(confidence, correct, strict=True):
            density = 0.0
            for k in range(-mirrors, mirrors + 1):
                for image in (2 * k + f, 2 * k - f):
                    density += math.exp(-0.5 * ((t - image) / width) ** 2)
            residual += (y - f) * density / (width * math.sqrt(2 * math.pi))
        total += abs(residual) / len(confidence)
    return total / steps


def smooth_ece(confidence, correct, steps=2000):
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        width = (low + high) / 2
        if smoothed_error(confidence, correct, width, steps) > width:
            low = width
        else:
            high = width
    return (low + high) / 2


def nll(logits, labels):
    total = 0.0
    for row, y in zip(logits, labels, strict=True):
        top = max(row)
        total += top + math.log(math.fsum(math.exp(z - top) for z in row)) - row[y]
    return total / len(labels)


def brier(probabilities, labels):
    total = 0.0
    for row, y in zip(probabilities, labels, strict=True):
        total += sum((p - (c == y)) ** 2 for c, p in enumerate(row))
    return total / len(labels)
