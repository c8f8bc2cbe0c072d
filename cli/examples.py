"""One line to start from with each command, shown at the end of its help."""

__all__ = ["EXAMPLES"]

EXAMPLES = {
    "methods": "ood-toolkit methods --json",
    "info": "ood-toolkit info test.npz",
    "warmup": "ood-toolkit warmup",
    "extract": "ood-toolkit extract --model mine:network --weights network.safetensors "
    "--data imagefolder:photos -o test.npz",
    "score": "ood-toolkit score test.npz -m energy,knn --train train.npz -o scores.csv",
    "fit": "ood-toolkit fit train.npz -m mahalanobis --id-val val.npz --tpr 0.95 "
    "-o detector.safetensors",
    "explain": "ood-toolkit explain test.npz --detector sdm.safetensors --rows 0,4,10-12",
    "calibrate": "ood-toolkit calibrate val.npz -m temperature -o calibrator.safetensors",
    "apply": "ood-toolkit apply test.npz --calibrator calibrator.safetensors -o calibrated.npz",
    "threshold": "ood-toolkit threshold --detector detector.safetensors --id-val val.npz "
    "--tpr 0.95 --guarantee",
    "policy": "ood-toolkit policy --detector detector.safetensors "
    "--calibrator calibrator.safetensors --confidence 0.8 -o policy.safetensors",
    "monitor": "ood-toolkit monitor monday.npz tuesday.npz --detector detector.safetensors",
    "evaluate": "ood-toolkit evaluate --id test.npz --ood near/cats=cats.npz "
    "--ood far/svhn=svhn.npz --train train.npz",
    "errors": "ood-toolkit errors test.npz -m msp,energy",
    "stress": "ood-toolkit stress test.npz -m msp,knn --train train.npz",
    "benchmark": "ood-toolkit benchmark fashion --html fashion.html",
    "compare": "ood-toolkit compare before.json after.json --fail-if-worse",
    "report": "ood-toolkit report results.json -o report.html",
    "convert": "ood-toolkit convert scores.npz --to openood --method energy --id test -o scores",
}
