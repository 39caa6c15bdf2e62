"""The history of training for TensorBoard."""

import re
from pathlib import Path
from typing import Any

from ._tensorflow import tf

# TensorBoard's panel of curves. `tf.summary.scalar` writes the same, but needs the package
# tensorboard, which does not come with TensorFlow.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
    data_class="DATA_CLASS_SCALAR",
)


class Log:
    """Curves of free energy, its change and seconds, pass by pass, one run for each stage.

    The change is that since the pass before, in nats per sample; below zero is better.
    """

    def __init__(self, log_dir: Any):
        self.log_dir = Path(log_dir)
        if self.log_dir.exists() and not self.log_dir.is_dir():
            raise NotADirectoryError(f"log_dir={str(log_dir)!r} is a file; give a folder")
        self._writers: dict[str, Any] = {}
        self._last: dict[str, float] = {}

    def log(self, stage: str, iteration: int, free_energy: float, seconds: float) -> None:
        """Write the numbers of one pass; they can be seen at once."""
        values = {"free_energy": free_energy, "seconds": seconds}
        if stage in self._last:
            # Taken before TensorBoard's float32 cuts the digits that still change.
            values["change"] = free_energy - self._last[stage]
        self._last[stage] = free_energy
        if stage not in self._writers:
            folder = self.log_dir / re.sub(r'[<>:"/\\|?*\x00-\x1f]|^\.+$', "_", stage)
            self._writers[stage] = tf.summary.create_file_writer(str(folder))
        writer = self._writers[stage]
        with writer.as_default():
            for name, value in values.items():
                tensor = tf.constant(value, tf.float32)
                tf.summary.write(name, tensor, step=iteration, metadata=_SCALAR)
        writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self._last.clear()


class NoLog:
    """A log that writes nothing, for training without one."""

    def log(self, stage: str, iteration: int, free_energy: float, seconds: float) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close nothing."""
