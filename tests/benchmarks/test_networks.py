"""The published networks: their shapes, torchvision's weights by name, and files that are not what they say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from verict.benchmarks import imagenet
from verict.benchmarks.entries import NETWORKS
from verict.benchmarks.fit import Tuning, extract_features, start_network, to_colour
from verict.benchmarks.imagenet import FILES, fill, find_weights, load_imagenet, rename
from verict.benchmarks.networks import cut_head, head_of, make_network
from verict.errors import ModelError, UsageError

FEATURES = {"densenet121": 1024, "densenet201": 1920, "resnet50": 2048, "resnet101": 2048, "vgg19": 4096}
PARAMETERS = {  # as torchvision documents each network, with 1000 classes
    "densenet121": 7_978_856, "densenet201": 20_013_928, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "vgg19": 143_667_240,
}  # fmt: skip
HEAD_INPUTS = {"densenet121": 1024, "densenet201": 1920, "resnet50": 2048, "resnet101": 2048, "vgg19": 4096}


def torchvision_state(name, network, torch, *, dotted=False):
    """A state under torchvision's names for a network of ours, every value another; with a head of 1000 classes."""
    state = {}
    for key, value in network.state_dict().items():
        theirs = key.replace(".layers.norm", ".norm").replace(".layers.conv", ".conv")
        theirs = theirs.replace("class_layers.out", "classifier")
        if dotted and ".denselayer" in theirs:
            for part in ("norm1", "norm2", "conv1", "conv2"):
                theirs = theirs.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        if key.startswith(head_of(name)):
            value = torch.zeros(1000, *value.shape[1:])
        state[theirs] = torch.full_like(value, 0.5) if value.dtype.is_floating_point else value
    return state


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_as_large_as_the_published_one(name, require_extra):
    require_extra("torch"), require_extra("monai")
    network = make_network(name, 32)
    count = sum(p.numel() for p in network.parameters())
    head = HEAD_INPUTS[name] + 1
    assert count == PARAMETERS[name] - 1000 * head + 4 * head


@pytest.mark.parametrize("name", ["densenet121", "resnet50"])
@pytest.mark.parametrize("dotted", [False, True])
def test_torchvision_weights_go_where_they_belong(name, dotted, require_extra):
    torch = require_extra("torch")
    require_extra("monai")
    network = make_network(name, 32)
    before = network.get_submodule(head_of(name)).weight.detach().clone()
    state = torchvision_state(name, network, torch, dotted=dotted)
    state = {key: value for key, value in state.items() if "num_batches_tracked" not in key}  # as older files are
    fill(name, network, state, Path("file.pth"))
    for key, value in network.state_dict().items():
        if value.dtype.is_floating_point and not key.startswith(head_of(name)):
            assert (value == 0.5).all(), key
    assert torch.equal(network.get_submodule(head_of(name)).weight, before), "the last layer is our own"


def test_vgg_has_the_names_of_torchvision(require_extra):
    require_extra("torch")
    keys = list(make_network("vgg19", 32).state_dict())
    assert keys[:4] == ["features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias"]
    assert keys[-2:] == ["classifier.6.weight", "classifier.6.bias"]
    assert [rename(key) for key in keys] == keys


def test_weights_of_another_network_are_refused(require_extra):
    torch = require_extra("torch")
    require_extra("monai")
    network = make_network("densenet121", 32)
    state = torchvision_state("densenet121", network, torch)
    state.pop("features.conv0.weight")
    with pytest.raises(ModelError, match=r"the first is features\.conv0\.weight"):
        fill("densenet121", network, state, Path("file.pth"))


def write_weights(folder, monkeypatch, content):
    """A file under torchvision's name whose hash its name tells."""
    digest = hashlib.sha256(content).hexdigest()
    name = f"resnet50-{digest[:8]}.pth"
    monkeypatch.setitem(FILES, "resnet50", name)
    (folder / name).write_bytes(content)
    return folder / name


def test_a_file_or_its_folder_may_be_named(tmp_path, monkeypatch):
    file = write_weights(tmp_path, monkeypatch, b"weights")
    for place in (file, tmp_path):
        assert find_weights("resnet50", place).file == file
    assert len(find_weights("resnet50", file).sha256) == 64


def test_an_altered_file_is_refused_with_both_hashes(tmp_path, monkeypatch):
    file = write_weights(tmp_path, monkeypatch, b"weights")
    file.write_bytes(b"wieghts")
    with pytest.raises(ModelError, match=r"altered or cut short; found SHA-256 .*; expected SHA-256 .*download"):
        find_weights("resnet50", tmp_path)


def test_a_missing_file_says_which_one_and_where_it_comes_from(tmp_path):
    with pytest.raises(UsageError) as caught:
        find_weights("vgg19", tmp_path)
    line = caught.value.one_line()
    assert "vgg19-dcbb9e9d.pth" in line
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in line
    assert "--init random" in line


def test_a_file_that_is_no_weights_file_is_refused(tmp_path, monkeypatch, require_extra):
    require_extra("torch")
    write_weights(tmp_path, monkeypatch, b"weights")
    with pytest.raises(ModelError, match="cannot be read"):
        load_imagenet("resnet50", None, find_weights("resnet50", tmp_path))


def test_weights_are_loaded_from_the_file(tmp_path, monkeypatch, require_extra):
    torch = require_extra("torch")
    require_extra("monai")
    network = make_network("resnet50", 32)
    torch.save(torchvision_state("resnet50", network, torch), tmp_path / "state")
    file = write_weights(tmp_path, monkeypatch, (tmp_path / "state").read_bytes())
    started = start_network("resnet50", 32, Tuning(imagenet=file), 0)
    assert (started.conv1.weight == 0.5).all()


@pytest.mark.parametrize("name", ["densenet121", "resnet50"])
def test_a_network_without_its_head_gives_features(name, require_extra):
    require_extra("torch"), require_extra("monai")
    windows = np.random.default_rng(0).normal(-700, 100, (3, 32, 32)).astype(np.float32)
    features = extract_features(name, windows, Tuning(), seed=0)
    assert features.shape == (3, FEATURES[name])
    assert features.std() > 0
    np.testing.assert_array_equal(features, extract_features(name, windows, Tuning(), seed=0))


def test_every_head_can_be_cut(require_extra):
    torch = require_extra("torch")
    assert type(cut_head("vgg19", make_network("vgg19", 32)).classifier[6]) is torch.nn.Identity


def test_pictures_are_made_by_constants_alone():
    one, other = np.full((1, 32, 32), -1000.0), np.full((1, 32, 32), 400.0)
    np.testing.assert_allclose(to_colour(np.concatenate([one, other]))[0], to_colour(one)[0])
    assert to_colour(one).shape == (1, 3, 32, 32)
    np.testing.assert_allclose(to_colour(one)[0, :, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5)


@pytest.mark.parametrize("name", ["ffnn", "cnn2d", "cnn3d"])
def test_the_small_networks_tell_four_classes(name, require_extra):
    torch = require_extra("torch")
    shape = (2, 1, 32, 32) if name == "cnn2d" else (2, 1, 32, 32, 32)
    assert make_network(name, 32).eval()(torch.zeros(shape)).shape == (2, 4)


def test_imagenet_comes_from_a_named_place():
    assert imagenet.ORIGIN.startswith("https://")
