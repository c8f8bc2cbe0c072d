"""Densities, neighbours and subspaces of features: against scikit-learn, and at their limits."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from safetensors import safe_open

from ood_toolkit.detectors import kernel_sums, load_scorer, make_detector
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.kernel_pca import fourier_features
from ood_toolkit.errors import BadParameter, InputError, ToolkitWarning
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Outputs
from tests.cases import record
from tests.reference.known import features, fixture, floats

RNG = np.random.default_rng(8)
TRAIN = RNG.normal(size=(300, 6)) * np.geomspace(0.5, 2, 6)
LABELS = np.arange(300) % 3
QUERIES = 2 * RNG.normal(size=(40, 6))


def fit(name: str, train: Outputs | None = None, **parameters: object) -> FittedScorer:
    return make_detector(name, parameters).fit(train or features(TRAIN, LABELS))


def scored(name: str, rows: np.ndarray = QUERIES, **parameters: object) -> np.ndarray:
    return fit(name, **parameters).score(features(rows))


# scikit-learn


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_isolation_forest_equals_scikit_learns(dtype: type) -> None:
    from sklearn.ensemble import IsolationForest

    train, x = TRAIN.astype(dtype), QUERIES.astype(dtype)
    expected = IsolationForest(random_state=0, max_samples=256).fit(train).score_samples(x)
    got = fit("isolation_forest", Outputs(features=train)).score(Outputs(features=x))
    assert got == pytest.approx(expected, rel=1e-13)


def test_isolation_forest_beyond_float32() -> None:
    x = features([[1e300] * 6, [-1e300] * 6])
    assert np.isfinite(fit("isolation_forest").score(x)).all()
    with pytest.raises(InputError, match=r"isolation_forest: a feature is beyond 3\.4e\+38"):
        fit("isolation_forest", features([[1e39], [0.0]]))


@pytest.mark.parametrize("k", [1, 5, 20, 299])
def test_lof_equals_scikit_learns(k: int) -> None:
    from sklearn.neighbors import LocalOutlierFactor

    expected = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(TRAIN).score_samples(QUERIES)
    assert scored("lof", k=k) == pytest.approx(expected, rel=1e-12)


def test_lof_among_copies() -> None:
    """Copies are dense without bound; scikit-learn's 1e-10 keeps them finite, and so do we."""
    from sklearn.neighbors import LocalOutlierFactor

    train = np.repeat(TRAIN[:20], 5, axis=0)
    x = np.r_[TRAIN[:3], QUERIES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions say that copies are dense
        expected = LocalOutlierFactor(n_neighbors=3, novelty=True).fit(train).score_samples(x)
    got = fit("lof", features(train), k=3).score(features(x))
    # |a|^2 + |b|^2 - 2ab, as theirs is, is not exactly 0 for copies
    assert got[3:] == pytest.approx(expected[3:], rel=1e-4)
    assert (got[:3] == -1).all()


def test_lof_has_too_few_rows() -> None:
    with pytest.raises(InputError, match="lof needs at least two training rows"):
        fit("lof", features([[1.0]]))
    with pytest.warns(ToolkitWarning, match="using k = 2"):
        assert fit("lof", features([[1.0], [2.0], [4.0]])).report() == {"rows": 3, "k": 2}


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_gmm_of_all_rows_equals_scikit_learns(covariance: str) -> None:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(3, covariance_type=covariance, random_state=0).fit(TRAIN)
    got = scored("gmm", components=3, per_class=False, covariance=covariance)
    assert got == pytest.approx(mixture.score_samples(QUERIES), rel=1e-10)


def test_kde_equals_scipys() -> None:
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal

    terms = [multivariate_normal(f, 0.7**2 * np.eye(6)).logpdf(QUERIES) for f in TRAIN]
    expected = logsumexp(terms, axis=0) - np.log(len(TRAIN))
    assert scored("kde", bandwidth=0.7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["isolation_forest", "lof", "gmm", "ssd"])
def test_a_saved_file_holds_plain_arrays_that_score_without_scikit_learn(name, tmp_path) -> None:
    parameters = {"gmm": {"components": 2}, "ssd": {"clusters": 2}}.get(name, {})
    scorer = fit(name, **parameters)
    path = tmp_path / "detector.safetensors"
    scorer.save(path)
    with safe_open(path, framework="numpy") as file:
        assert len(list(file.keys())) >= 3
    np.save(tmp_path / "x.npy", QUERIES)
    code = (
        "import sys, numpy as np; from ood_toolkit import Outputs, load_scorer;"
        f"x = Outputs(features=np.load({str(tmp_path / 'x.npy')!r}));"
        f"np.save({str(tmp_path / 's.npy')!r}, load_scorer({str(path)!r}).score(x));"
        "assert 'sklearn' not in sys.modules and 'pickle5' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert np.array_equal(np.load(tmp_path / "s.npy"), scorer.score(features(QUERIES)))
    assert np.array_equal(load_scorer(path).score(features(QUERIES)), np.load(tmp_path / "s.npy"))


# Kernel density


def test_the_bandwidth_and_effective_sample_size_of_the_rule() -> None:
    peer = fixture("kde")
    report = fit("kde", features(peer["inputs"]["train_features"])).report()
    for ours, theirs in (("bandwidth",) * 2, ("nearest",) * 2, ("n_eff",) * 2):
        assert report[ours] == pytest.approx(peer["outputs"][theirs], rel=1e-12)


def test_the_bandwidth_is_wider_than_silvermans_and_lets_few_rows_count() -> None:
    """The regime of many dimensions: h near the nearest distance, a handful of rows behind it."""
    d, n = 20, 1500
    report = fit("kde", features(np.random.default_rng(0).normal(size=(n, d)))).report()
    silverman = (4 / (d + 2)) ** (1 / (d + 4)) * n ** (-1 / (d + 4))
    assert report["bandwidth"] > 1.1 * silverman
    assert (
        report["nearest"] / np.sqrt(d) < report["bandwidth"] < 1.3 * report["nearest"] / np.sqrt(d)
    )
    assert 2 < report["n_eff"] < 12


@pytest.mark.parametrize("whiten", [False, True])
def test_copies_of_a_row_do_not_narrow_the_bandwidth(whiten: bool) -> None:
    once = fit("kde", whiten=whiten)
    thrice = fit("kde", features(np.repeat(TRAIN, 3, axis=0)), whiten=whiten)
    assert thrice.report() == pytest.approx(once.report(), rel=1e-12)
    x = features(QUERIES)
    assert thrice.score(x) == pytest.approx(once.score(x), rel=1e-12)


def test_kde_of_one_point() -> None:
    same = features(np.ones((5, 2)))
    with pytest.raises(InputError, match="every training row is the same; choose a bandwidth"):
        fit("kde", same)
    scorer = fit("kde", same, bandwidth=1.0)
    assert scorer.score(same) == pytest.approx(-np.log(2 * np.pi), rel=1e-15)
    assert scorer.report()["n_eff"] == 1.0


def test_kde_far_away_never_leaves_the_logarithm() -> None:
    rays = QUERIES[0] * np.geomspace(1, 1e8, 9)[:, np.newaxis]
    score = scored("kde", rays)
    assert np.isfinite(score).all()
    assert (np.diff(score) < 0).all()


def test_kde_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, report = scored("kde"), fit("kde").report()
    monkeypatch.setattr(kernel_sums, "BLOCK", 7)
    assert scored("kde") == pytest.approx(whole, rel=1e-13)
    assert fit("kde").report() == pytest.approx(report, rel=1e-12)


def test_kde_judges_the_bandwidth_on_an_even_part_of_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_sums, "LEFT_OUT_MOST", 100)
    part = fit("kde").report()
    monkeypatch.undo()
    assert part["bandwidth"] == pytest.approx(fit("kde").report()["bandwidth"], rel=0.2)


def test_kde_never_holds_a_distance_of_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_sums, "LEFT_OUT_MOST", 10)
    rows = np.random.default_rng(1).normal(size=(17_000, 8)).astype(np.float32)
    scorer = fit("kde", Outputs(features=rows[:12_000]), bandwidth=0.5)
    scorer.score(Outputs(features=rows[:10]))  # compiled outside the measurement
    tracemalloc.start()
    scorer.score(Outputs(features=rows[12_000:]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000 * 12_000 * 8 / 2


# Gaussians


def test_a_cluster_needs_rows_that_differ() -> None:
    labels = np.r_[0, np.ones(299, int)]
    with (
        pytest.raises(InputError, match="ssd: class 0: the covariance is zero"),
        pytest.warns(ToolkitWarning, match="class 0 has one row only"),
    ):
        fit("ssd", features(TRAIN, labels), clusters="classes")
    with pytest.raises(BadParameter, match=r"ssd\.clusters = 301 is more than 300 rows"):
        fit("ssd", clusters=301)


def test_a_flat_cluster_is_told_of() -> None:
    labels = np.r_[np.zeros(4, int), np.ones(296, int)]
    with pytest.warns(ToolkitWarning, match="ssd: class 0 varies in 3 directions, others in 6"):
        scorer = fit("ssd", features(TRAIN, labels), clusters="classes")
    assert scorer.report() == {"clusters": 2, "smallest": 4, "least_rank": 3, "most_rank": 6}
    assert scorer.axes.shape == (9, 6)


def test_ssd_of_one_cluster_is_the_marginal_distance_of_directions() -> None:
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (TRAIN, QUERIES)]
    expected = fit("marginal_mahalanobis", features(unit[0])).score(features(unit[1]))
    assert scored("ssd") == pytest.approx(expected, rel=1e-9)


def test_gmm_of_small_classes() -> None:
    labels = np.r_[0, 0, np.ones(298, int)]
    with pytest.warns(ToolkitWarning, match="gmm: class 0 has 2 rows for 3 components"):
        scorer = fit("gmm", features(TRAIN, labels), components=3)
    assert scorer.report()["components"] == 5
    assert np.isfinite(scorer.score(features(QUERIES))).all()
    with pytest.raises(BadParameter, match=r"gmm\.components = 9 is more than 5 rows"):
        fit("gmm", features(TRAIN[:5]), components=9, per_class=False)


def test_gmm_of_all_rows_needs_no_class() -> None:
    unknown = features(TRAIN, np.full(300, -1))
    assert fit("gmm", unknown, per_class=False).score(features(QUERIES)).shape == (40,)


def test_blocks_lie_between_variances_and_a_full_covariance() -> None:
    full, diagonal = [], []
    for rows in (TRAIN[c::3] for c in range(3)):
        sigma, d = np.cov(rows.T), QUERIES - rows.mean(axis=0)
        full.append(np.einsum("nd,de,ne->n", d, np.linalg.inv(sigma), d) / 2)
        diagonal.append((d**2 / np.diag(sigma)).mean(axis=1) / 2)
    got = scored("hvcm_blocks", blocks=1, ridge=1e-12)
    assert got == pytest.approx(-np.min(full, axis=0), rel=1e-9)
    got = scored("hvcm_blocks", blocks=6, ridge=1e-12)
    assert got == pytest.approx(-np.min(diagonal, axis=0), rel=1e-9)


def test_blocks_that_do_not_vary() -> None:
    constant = np.c_[TRAIN, np.ones(300)]
    x = features(np.c_[QUERIES, np.full(40, 7.0)])
    got = fit("hvcm_blocks", features(constant, LABELS), blocks=7).score(x)
    assert got == pytest.approx(scored("hvcm_blocks", blocks=6) * 6 / 7, rel=1e-12)
    with (
        pytest.raises(InputError, match="every training row equals the mean of its class"),
        pytest.warns(ToolkitWarning, match="one row only"),
    ):
        fit("hvcm_blocks", features(TRAIN[:3], [0, 1, 2]))
    with pytest.raises(BadParameter, match=r"hvcm_blocks\.blocks = 7 is more than the 6 features"):
        fit("hvcm_blocks", blocks=7)


def test_automatic_blocks_have_32_columns_at_most() -> None:
    for dims, blocks, largest in ((8, 1, 8), (64, 2, 32), (65, 3, 22)):
        report = fit("hvcm_blocks", record(60, seed=1, dims=dims)).report()
        assert (report["blocks"], report["largest_block"]) == (blocks, largest)


# Neighbours and subspaces


def test_trust_score_at_its_limits() -> None:
    train = features([[0.0], [0.0], [5.0]], [0, 0, 1])
    x = Outputs(features=floats([[0.0], [5.0], [5.0]]), logits=floats([[1, 0], [1, 0], [0, 1]]))
    with pytest.warns(ToolkitWarning, match="class 1 has one row only"):
        scorer = fit("trust_score", train)
    assert scorer.score(x).tolist() == [5e12, 0.0, 5e12]
    with pytest.raises(InputError, match="trust_score needs at least two classes"):
        fit("trust_score", features(TRAIN, np.zeros(300, int)))


def test_trust_score_drops_what_is_rare() -> None:
    rows = np.r_[TRAIN[:100], [[90.0] * 6], TRAIN[100:]]
    labels = np.r_[LABELS[:100], 0, LABELS[100:]]
    scorer = fit("trust_score", features(rows, labels), alpha=0.05)
    assert scorer.report()["rows"] == 301
    assert scorer.report()["kept"] < 301
    assert np.abs(scorer.bank).max() < 90


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"pca: all 2 axes are needed to explain 0\.85"):
        fit("pca", features([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
    same = features(np.outer([1.0, 2.0, 3.0], [1.0, 2.0]))
    for name in ("pca", "corp", "ssd"):
        with pytest.raises(InputError, match=f"{name}: the covariance is zero"):
            fit(name, same)


def test_both_sides_of_the_products_give_the_same_subspace() -> None:
    """Fewer rows than random features, or more: another matrix is taken apart."""
    wide, narrow = fit("corp", width=400), fit("corp", features(np.r_[TRAIN, TRAIN]), width=400)
    x = features(QUERIES)
    assert wide.score(x) == pytest.approx(narrow.score(x), rel=1e-9)


def test_random_features_approach_the_gaussian_kernel() -> None:
    scorer = fit("corp", width=4000, gamma=0.5)
    rows = QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)
    mapped = fourier_features(rows, scorer.frequencies, scorer.phases)
    squares = np.sum((rows[:, np.newaxis] - rows) ** 2, axis=2)
    assert mapped @ mapped.T == pytest.approx(np.exp(-0.5 * squares), abs=0.1)


def test_a_seed_decides_the_random_features() -> None:
    assert np.array_equal(scored("corp", width=64), scored("corp", width=64, seed=0))
    assert not np.array_equal(scored("corp", width=64), scored("corp", width=64, seed=1))


METHODS = [
    "corp",
    "gmm",
    "hvcm_blocks",
    "isolation_forest",
    "kde",
    "lof",
    "pca",
    "ssd",
    "trust_score",
]


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_cut_at_a_chunk_scores_the_same_bits(name: str) -> None:
    train, x = record(300, seed=1), record(2 * CHUNK + 100, seed=2)
    scorer = fit(name, train)
    whole = scorer.score(x)
    parts = [scorer.score(x.rows(slice(i, i + CHUNK))) for i in range(0, len(x), CHUNK)]
    assert np.array_equal(np.concatenate(parts), whole)
