"""Describes an arm in one sentence, for the report and the model card."""

from __future__ import annotations

from pipelines.config.arm_section import CLASSIFIER_SETTINGS, FEEDS, Arm
from pipelines.results.wording import describe_mix

LEARNER_WORDS = {
    "network": "a network",
    "features": "a linear classifier on pretrained features",
    "finetune": "a fine-tuned pretrained network",
}


def describe_arm(arm: Arm, ratio: float) -> str:
    """Describe an arm: "a network, trained on real images, augmented by light". ratio: that of the evaluation."""
    images = " and ".join(["real"] * arm.real + ["synthetic"] * arm.synthetic)
    policy = f", augmented by {arm.policy}" if arm.policy else ""
    parts = [f"{LEARNER_WORDS[arm.learner]}, trained on {images} images{policy}"]
    if arm.synthetic:
        control = ", a control" if arm.is_control else ""
        parts.append(f"the synthetic ones are {FEEDS[arm.feed or 'generator'].words}{control}")
    if arm.real and arm.synthetic:
        parts.append(describe_mix(arm.mix(ratio)))
    parts += [f"{arm.unlabelled:.0%} of each batch unlabelled images"] if arm.unlabelled else []
    parts += ["soft labels by cross-fitted classifiers"] if arm.soft_labels else []
    own = {name: getattr(arm, name) for name in CLASSIFIER_SETTINGS}
    values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in own.items()}
    parts += [f"{name} {value}" for name, value in values.items() if value is not None]
    parts += ["cross-fitted operating point"] if arm.is_cross_fitted else []
    return "; ".join(parts)
