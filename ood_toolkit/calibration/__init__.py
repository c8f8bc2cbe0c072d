"""Calibrators: transforms, fitted on held-out outputs, that make probabilities mean something."""

from ood_toolkit.calibration.affine import DirichletCalibration, MatrixScaling
from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.beta import BetaCalibration
from ood_toolkit.calibration.binning import BBQ, HistogramBinning
from ood_toolkit.calibration.choosing import AutoCalibration
from ood_toolkit.calibration.density import DAC
from ood_toolkit.calibration.ensemble import EnsembleTemperature
from ood_toolkit.calibration.isotonic import IsotonicCalibration
from ood_toolkit.calibration.links import Sparsemax, SparseSoftmax, Stablemax
from ood_toolkit.calibration.per_row import AdaptiveTemperature, TemperedPerSample
from ood_toolkit.calibration.persistence import load_calibrator
from ood_toolkit.calibration.quality import Quality, changed_predictions, probability_quality
from ood_toolkit.calibration.registry import (
    CalibrationMethod,
    find_calibrator,
    make_calibrator,
    registered_calibrators,
)
from ood_toolkit.calibration.residuals import (
    ResidualConsistency,
    residual_consistency,
    residual_interval,
)
from ood_toolkit.calibration.saving import save_calibrator
from ood_toolkit.calibration.self_consistency import SPC
from ood_toolkit.calibration.spline import SplineCalibration
from ood_toolkit.calibration.temperature import Temperature
from ood_toolkit.calibration.vector import VectorScaling

__all__ = [
    "BBQ",
    "DAC",
    "SPC",
    "AdaptiveTemperature",
    "AutoCalibration",
    "BetaCalibration",
    "CalibrationMethod",
    "DirichletCalibration",
    "EnsembleTemperature",
    "FittedCalibrator",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "Quality",
    "ResidualConsistency",
    "SparseSoftmax",
    "Sparsemax",
    "SplineCalibration",
    "Stablemax",
    "Temperature",
    "TemperedPerSample",
    "VectorScaling",
    "changed_predictions",
    "find_calibrator",
    "load_calibrator",
    "make_calibrator",
    "probability_quality",
    "registered_calibrators",
    "residual_consistency",
    "residual_interval",
    "save_calibrator",
]
