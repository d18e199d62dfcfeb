"""Every model by name: one line each. Feeds the command's choices, the tables and the tests; imports no torch.

The comparative study: Solaiyappan and Wen, arXiv 2109.12800; its crops, splits and settings are not known, so those
here are ours. The student project: jtn50/lungdeepfake, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from verict.benchmarks.samples import Sees
from verict.detect import registry
from verict.errors import UsageError, did_you_mean


class Experiment(StrEnum):
    """What `verict bench` can run."""

    COMPARATIVE = "comparative"
    STUDENT = "student"
    DETECTORS = "detectors"


class Learner(StrEnum):
    """What fits a model."""

    PLAIN = "scikit-learn"
    NETWORK = "torch"
    FROZEN = "frozen network, then scikit-learn"


@dataclass(frozen=True)
class Entry:
    """One model.

    Parameters
    ----------
    name
        What ``--models`` calls it, and its folder in the output.
    words
        What the tables call it.
    sees
        What it is shown.
    learner
        What fits it.
    make
        The name of its maker: in `verict.benchmarks.plain` or `verict.benchmarks.networks`.
    learns_from_copies
        Turned and mirrored copies of training rows are learnt from too.
    needs_label
        It is nothing without the label among its features: it runs only where a protocol shows it.
    hides_label
        Its table holds no label under any protocol.
    """

    name: str
    words: str
    sees: Sees
    learner: Learner
    make: str
    learns_from_copies: bool = False
    needs_label: bool = False
    hides_label: bool = False

    @property
    def needs_weights(self) -> bool:
        """Whether it starts from weights learnt on ImageNet, or else from random ones."""
        return self.make in NETWORKS


NETWORKS = {"densenet121": "DenseNet121", "densenet201": "DenseNet201", "resnet50": "ResNet50",
            "resnet101": "ResNet101", "vgg19": "VGG19"}  # fmt: skip
"""The published networks, by the names their weights' files begin with."""

_CONTENT = Entry("content", "brightness and size alone", Sees.CONTENT, Learner.PLAIN, "normal")
_MAJORITY = Entry("majority", "the most frequent class", Sees.NOTHING, Learner.PLAIN, "majority")
_COMPARATIVE = (
    _MAJORITY,
    _CONTENT,
    Entry("svm", "SVM", Sees.WINDOW, Learner.PLAIN, "svm", learns_from_copies=True),
    Entry("forest", "random forest", Sees.WINDOW, Learner.PLAIN, "forest", learns_from_copies=True),
    Entry("tree", "decision tree", Sees.WINDOW, Learner.PLAIN, "tree", learns_from_copies=True),
    *(Entry(f"{name}-frozen", f"{words}, frozen", Sees.WINDOW, Learner.FROZEN, name, learns_from_copies=True)
      for name, words in NETWORKS.items()),
    *(Entry(f"{name}-tuned", f"{words}, fine-tuned", Sees.WINDOW, Learner.NETWORK, name, learns_from_copies=True)
      for name, words in NETWORKS.items()),
)  # fmt: skip
_STUDENT = (
    _MAJORITY,
    _CONTENT,
    Entry("ffnn", "FFNN 512-256-128", Sees.CUBOID, Learner.NETWORK, "ffnn"),
    Entry("forest-middle", "random forest, middle slice", Sees.MIDDLE, Learner.PLAIN, "forest"),
    Entry("boosted-label", "boosted trees on the label table, label among its features", Sees.TABLE, Learner.PLAIN,
          "boosted", needs_label=True),
    Entry("boosted-table", "boosted trees on the label table, without the label", Sees.TABLE, Learner.PLAIN, "boosted",
          hides_label=True),
    Entry("cnn2d", "2D CNN, middle slice", Sees.MIDDLE, Learner.NETWORK, "cnn2d"),
    Entry("cnn3d", "3D CNN", Sees.CUBOID, Learner.NETWORK, "cnn3d"),
    Entry("cnn3d-copies", "3D CNN, with turned copies", Sees.CUBOID, Learner.NETWORK, "cnn3d",
          learns_from_copies=True),
)  # fmt: skip
_ENTRIES = {Experiment.COMPARATIVE: _COMPARATIVE, Experiment.STUDENT: _STUDENT}

CLASSIFY = "classify"
"""Beside the detectors' names: the four classes, from fusion and nodule together, as `verict classify` gives them."""


def entries_of(experiment: Experiment) -> tuple[Entry, ...]:
    """The models of an experiment, in the order they run."""
    return _ENTRIES[experiment]


def choose_entries(experiment: Experiment, names: Sequence[str]) -> tuple[Entry, ...]:
    """The named models of an experiment, all where none is named.

    Raises
    ------
    UsageError
        If no model has one of the names.
    """
    known = {entry.name: entry for entry in _ENTRIES[experiment]}
    _refuse_unknown(names, list(known))
    return tuple(entry for name, entry in known.items() if name in names or not names)


def choose_detectors(names: Sequence[str]) -> tuple[str, ...]:
    """The named pixel detectors, all registered ones and `CLASSIFY` where none is named.

    Raises
    ------
    UsageError
        If none has one of the names.
    """
    pixel = [name for name in registry.names() if _marks_pixels(name)]
    known = [*pixel, CLASSIFY]
    _refuse_unknown(names, known)
    return tuple(name for name in known if name in names or not names)


def _marks_pixels(name: str) -> bool:
    detector = registry.create(name)
    return detector.marks_tampering and not detector.needs.headers


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"no model named {name!r} in this experiment", next_step=did_you_mean(name, known))
