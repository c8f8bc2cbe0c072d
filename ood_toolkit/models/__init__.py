"""PyTorch models in, outputs and decisions out; torch is loaded when a model is given."""

from ood_toolkit.models.adascale import AdaScale
from ood_toolkit.models.adversarial import (
    AdversarialInputs,
    adversarial_auroc,
    adversarial_inputs,
)
from ood_toolkit.models.attacks import BIM, CW, FGSM, DeepFool
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.epsilon import EpsilonChoice
from ood_toolkit.models.finetuning import EnergyFineTuned, FineTuningStep, finetune_energy
from ood_toolkit.models.gram import Gram
from ood_toolkit.models.grood import Grood
from ood_toolkit.models.guard import Explanation, Guard, Verdict
from ood_toolkit.models.guard_file import load_guard
from ood_toolkit.models.incremental import IncrementalClassifier, accuracy_as_it_grows
from ood_toolkit.models.layer_ensemble import LayerEnsemble, fit_layers
from ood_toolkit.models.maps import (
    ClipMaps,
    PruneMaps,
    changed_outputs,
    map_quantile,
)
from ood_toolkit.models.onnx_session import OnnxClassifier
from ood_toolkit.models.rankfeat import RemoveFirstRank, rankfeat_outputs
from ood_toolkit.models.score_functions import score_module
from ood_toolkit.models.sdm_activation import sdm_log_activation_tensor, sdm_loss_tensor
from ood_toolkit.models.sdm_training import AdaptorTraining, train_sdm
from ood_toolkit.models.wrapping import wrap

__all__ = [
    "BIM",
    "CW",
    "FGSM",
    "AdaScale",
    "AdaptorTraining",
    "AdversarialInputs",
    "ClipMaps",
    "DeepFool",
    "EnergyFineTuned",
    "EpsilonChoice",
    "Explanation",
    "FineTuningStep",
    "Gram",
    "Grood",
    "Guard",
    "IncrementalClassifier",
    "LayerEnsemble",
    "OnnxClassifier",
    "PruneMaps",
    "RemoveFirstRank",
    "Verdict",
    "WrappedClassifier",
    "accuracy_as_it_grows",
    "adversarial_auroc",
    "adversarial_inputs",
    "changed_outputs",
    "finetune_energy",
    "fit_layers",
    "load_guard",
    "map_quantile",
    "rankfeat_outputs",
    "score_module",
    "sdm_log_activation_tensor",
    "sdm_loss_tensor",
    "train_sdm",
    "wrap",
]
