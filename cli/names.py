"""Names for shell completion, generated from the catalogue by `make generated`."""

__all__ = ["METHOD_NAMES"]

METHOD_NAMES = (
    "energy",
    "entropy",
    "gen",
    "gini",
    "kl_matching",
    "label_non_uniformity",
    "logit_margin",
    "margin",
    "max_logit",
    "msp",
    "msp_kl",
    "odin_temperature",
    "renyi",
    "softmax_centroid",
    "standardized_max_logit",
    "cosine_prototype",
    "knn",
    "mahalanobis",
    "mahalanobis_pp",
    "marginal_mahalanobis",
    "relative_mahalanobis",
    "react",
    "vim",
)
