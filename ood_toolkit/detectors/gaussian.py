"""Mahalanobis distance and its kin: one Gaussian a class, one for everything, or both."""

from __future__ import annotations

from dataclasses import dataclass

from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.covariance import CovarianceRule
from ood_toolkit.detectors.gaussian_scorer import GaussianScorer, fit_gaussian
from ood_toolkit.outputs import Outputs

__all__ = [
    "Mahalanobis",
    "MahalanobisPP",
    "MarginalMahalanobis",
    "RelativeMahalanobis",
    "RelativeMahalanobisPP",
]


@method(
    "mahalanobis",
    family="features",
    needs="features",
    train="features labels",
    reference="Lee et al., NeurIPS 2018",
    laws="feature_affine class_permutation",
    grid={"covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class Mahalanobis:
    """Squared Mahalanobis distance to the nearest class mean, with one tied covariance.

    S = -min_c (f - mu_c)^T Sigma^+ (f - mu_c), in (-inf, 0]; larger = more
    in-distribution.  Sigma is the covariance about the class means divided by N, float64.

    Parameters
    ----------
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How Sigma is inverted.  The pseudo-inverse ignores directions in which the training
        features do not vary (relative cutoff D * eps); the others are scikit-learn's
        shrinkage estimators.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + C D + D^2) memory; score O(N D (C + D)) time, O(N + C D + D^2)
    memory; a shrinkage rule holds all rows, O(N D).

    Works where classes are single clouds of one common shape, and outliers leave them in directions
    that hardly vary; fails where classes differ in covariance, where features of one class differ
    in length, and where N < D leaves directions unseen.

    References
    ----------
    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", NeurIPS 2018.  Their code has a factor 1/2, which ranks alike.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Mahalanobis, Outputs
    >>> f = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]])
    >>> scorer = Mahalanobis().fit(Outputs(features=f, labels=[0, 0, 0, 0, 1, 1, 1, 1]))
    >>> scorer.score(Outputs(features=np.array([[4.0, 3.0]]))).round(4)
    array([-9.8621])
    """

    covariance: CovarianceRule = "pseudo_inverse"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GaussianScorer:
        """Learn class means and the tied covariance."""
        return fit_gaussian(self, "mahalanobis", train, class_term=True, background_sign=0.0)


@method(
    "relative_mahalanobis",
    family="features",
    needs="features",
    train="features labels",
    reference="Ren et al. 2021, arXiv 2106.09022",
    laws="feature_affine class_permutation",
    grid={"covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class RelativeMahalanobis:
    """Mahalanobis distance to the nearest class, less the distance to the background.

    S = d_0^2 - min_c d_c^2, unbounded; larger = more in-distribution.  d_0 is the distance
    under one Gaussian fitted to all training rows.

    Parameters
    ----------
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How both covariances are inverted; see `Mahalanobis`.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + C D + D^2) memory; score O(N D (C + D)) time, O(N + C D + D^2)
    memory; a shrinkage rule holds all rows, O(N D).

    Works where outliers are near and most directions say nothing about the class, for these cancel;
    fails where outliers are far from everything in such directions, which cancel too.

    References
    ----------
    Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
    2021, arXiv 2106.09022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, RelativeMahalanobis
    >>> f = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]])
    >>> train = Outputs(features=f, labels=[0, 0, 0, 0, 1, 1, 1, 1])
    >>> x = Outputs(features=np.array([[4.0, 3.0]]))
    >>> RelativeMahalanobis().fit(train).score(x).round(4)
    array([-9.8314])
    """

    covariance: CovarianceRule = "pseudo_inverse"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GaussianScorer:
        """Learn class means, the tied covariance and the background Gaussian."""
        return fit_gaussian(
            self, "relative_mahalanobis", train, class_term=True, background_sign=1.0
        )


@method(
    "marginal_mahalanobis",
    family="features",
    needs="features",
    train="features",
    reference="Ren et al. 2021, arXiv 2106.09022",
    laws="feature_affine",
    grid={"covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class MarginalMahalanobis:
    """Squared Mahalanobis distance to the mean of all training features; no labels needed.

    S = -(f - mu_0)^T Sigma_0^+ (f - mu_0), in (-inf, 0]; larger = more in-distribution.

    Parameters
    ----------
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How the covariance is inverted; see `Mahalanobis`.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + D^2) memory; score O(N D^2) time, O(N + D^2) memory; a shrinkage
    rule holds all rows, O(N D).

    Works where outliers lie outside all training features and there are no labels; fails where they
    lie among the classes, nearer to the overall mean than familiar rows.

    References
    ----------
    The background term of Ren et al. 2021, arXiv 2106.09022, on its own.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MarginalMahalanobis, Outputs
    >>> f = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]])
    >>> x = Outputs(features=np.array([[4.0, 3.0]]))
    >>> MarginalMahalanobis().fit(Outputs(features=f)).score(x).round(4)
    array([-0.0307])
    """

    covariance: CovarianceRule = "pseudo_inverse"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GaussianScorer:
        """Learn mean and covariance of all rows."""
        return fit_gaussian(
            self, "marginal_mahalanobis", train, class_term=False, background_sign=-1.0
        )


@method(
    "mahalanobis_pp",
    family="features",
    needs="features",
    train="features labels",
    reference="Müller & Hein 2025, arXiv 2505.18032",
    laws="feature_scale class_permutation",
    grid={"covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class MahalanobisPP:
    """Mahalanobis++: the Mahalanobis score of features divided by their length.

    S = -min_c d_c^2 on f / ||f||, in (-inf, 0]; larger = more in-distribution.  Class means
    of the normalised features are not normalised again.  A feature row of zeros has no
    direction and is refused.

    Parameters
    ----------
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How the tied covariance is inverted; see `Mahalanobis`.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + C D + D^2) memory; score O(N D (C + D)) time, O(N + C D + D^2)
    memory; a shrinkage rule holds all rows, O(N D).

    Works where the length of features varies within classes and blurs their Gaussians; fails where
    length is what tells outliers apart, and is no more than `mahalanobis` where features have
    length 1 already.

    References
    ----------
    Müller & Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization",
    2025, arXiv 2505.18032.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MahalanobisPP, Outputs
    >>> f = np.array([[1.0, 1], [3, 1], [1, 3], [3, 3], [7, 5], [9, 5], [7, 7], [9, 9]])
    >>> scorer = MahalanobisPP().fit(Outputs(features=f, labels=[0, 0, 0, 0, 1, 1, 1, 1]))
    >>> scorer.score(Outputs(features=np.array([[5.0, 4.0]]))).round(4)
    array([-0.0318])
    """

    covariance: CovarianceRule = "pseudo_inverse"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GaussianScorer:
        """Learn class means and the tied covariance of the normalised features."""
        return fit_gaussian(
            self, "mahalanobis_pp", train, class_term=True, background_sign=0.0, unit_length=True
        )


@method(
    "relative_mahalanobis_pp",
    family="features",
    needs="features",
    train="features labels",
    reference="Müller & Hein 2025, arXiv 2505.18032",
    laws="feature_scale class_permutation",
    grid={"covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class RelativeMahalanobisPP:
    """Relative Mahalanobis score of features divided by their length.

    S = d_0^2 - min_c d_c^2 on f / ||f||, unbounded; larger = more in-distribution.  The
    background Gaussian is that of the normalised features too.

    Parameters
    ----------
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How both covariances are inverted; see `Mahalanobis`.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + C D + D^2) memory; score O(N D (C + D)) time, O(N + C D + D^2)
    memory; a shrinkage rule holds all rows, O(N D).

    Works where both the length of features and the directions that classes share mislead; fails
    where outliers differ from all classes alike, for the background term takes that away.

    References
    ----------
    Müller & Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization",
    2025, arXiv 2505.18032.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, RelativeMahalanobisPP
    >>> f = np.array([[1.0, 1], [3, 1], [1, 3], [3, 3], [7, 5], [9, 5], [7, 7], [9, 9]])
    >>> train = Outputs(features=f, labels=[0, 0, 0, 0, 1, 1, 1, 1])
    >>> x = Outputs(features=np.array([[5.0, 4.0]]))
    >>> RelativeMahalanobisPP().fit(train).score(x).round(4)
    array([0.3899])
    """

    covariance: CovarianceRule = "pseudo_inverse"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GaussianScorer:
        """Learn class means, the tied covariance and the background Gaussian."""
        return fit_gaussian(
            self,
            "relative_mahalanobis_pp",
            train,
            class_term=True,
            background_sign=1.0,
            unit_length=True,
        )
