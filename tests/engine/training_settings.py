"""How tests train where they do not say otherwise: the engine has no defaults of its own."""

from typing import Any

from mne_hmm.engine import InitialParameters, Prior, TrainingSettings, UpdateRule

# What may be learned, by what tests call it.
RULES = {
    f"{form}, {'means' if learn else 'zero means'}": UpdateRule(learn, covariance_type=form)
    for form in ("full", "diag")
    for learn in (True, False)
}


def settings_for(n_states: int, rule: UpdateRule, **changes: Any) -> TrainingSettings:
    """Settings of a training from three k-means starts without moves, but for some changes."""
    usual = {
        "init": "kmeans",
        "n_init": 3,
        "initial": InitialParameters(),
        "refine": False,
        "prior": Prior(),
        "max_iter": 100,
        "tol": 1e-4,
        "batches": None,
    }
    return TrainingSettings(n_states, rule, **(usual | changes))
