"""What fit and apply leave of recordings of a BIDS data set: derivatives that validate."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from ..model.bids_derivatives import (
    DESCRIPTION,
    MODEL,
    MODEL_SIDECAR,
    Writer,
    check_root,
    files_of_data_set,
    files_of_recording,
    names_of_recordings,
)
from ..model.hmm import HMM
from ..states.time_course import StateTimeCourse
from .inputs import Inputs
from .outputs import RUN, TABLES, ResultOutputs

OF_DATA_SET = (DESCRIPTION, "README.md", ".bidsignore", "descriptions.tsv", MODEL, MODEL_SIDECAR)


class BidsOutputs(ResultOutputs):
    """A folder of BIDS derivatives that fit or apply writes to."""

    def __init__(self, folder: Path, inputs: Inputs, *, command: str, overwrite: bool = False):
        self.sources = inputs.bids or []
        check_root(folder, self.sources, "--output ")
        # Only epochs have a suffix of their own.
        are_epochs = [source.suffix == "epo" for source in self.sources]
        self.names = names_of_recordings(self.sources, are_epochs)
        super().__init__(folder, inputs, command=command, overwrite=overwrite)

    def expected(self) -> list[str]:
        """Name all files that may be written."""
        return [*OF_DATA_SET, *chain.from_iterable(self.names), *TABLES, RUN]

    def write_model(self, hmm: HMM) -> None:
        """Write the model and what describes the data set."""
        self._write(files_of_data_set(hmm, self.sources, self.folder))

    def write_recording(self, i_recording: int, course: StateTimeCourse) -> None:
        """Write the states of a recording."""
        names = self.names[i_recording]
        self._write(files_of_recording(course, self.sources[i_recording], names))

    def _write(self, files: Mapping[str, Writer]) -> None:
        for name, write in files.items():
            # It says where the source data set lies, seen from this folder.
            with self.writing(name, compared=name != DESCRIPTION) as path:
                write(path)


def outputs_for(
    folder: Path, inputs: Inputs, *, command: str, overwrite: bool = False
) -> ResultOutputs:
    """Check what a command will write, in the form that goes with its recordings."""
    kind = ResultOutputs if inputs.bids is None else BidsOutputs
    return kind(folder, inputs, command=command, overwrite=overwrite)
