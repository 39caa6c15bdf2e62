"""What an update learns."""

from dataclasses import dataclass

from ..inference.gaussian import FULL


@dataclass(frozen=True)
class UpdateRule:
    """Which parameters are learned, and the form of the covariances."""

    learn_means: bool
    learn_covariances: bool = True
    learn_transitions: bool = True
    covariance_type: str = FULL

    @property
    def learn_emissions(self) -> bool:
        """Whether an update needs the data at all."""
        return self.learn_means or self.learn_covariances
