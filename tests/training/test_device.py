"""The device asked for, or one line that says why not."""

from __future__ import annotations

import pytest

from verict.errors import UsageError
from verict.training.device import choose_device


def test_an_unknown_device_and_a_missing_card_are_refused(require_extra, monkeypatch):
    torch = require_extra("torch")
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no graphics card"):
        choose_device("cuda")
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
