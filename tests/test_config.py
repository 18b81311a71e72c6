"""A config is checked when it is made, cannot be changed afterwards, and survives JSON."""

import dataclasses
import json
import math

import pytest

from dcgan_tf1.config import MODELS, PRESETS, Config, Folders
from dcgan_tf1.errors import UsageError, one_line

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
NUMBERS = [name for name, field in FIELDS.items() if field.type in (int, float) and not field.metadata["choices"]]
LISTS = [name for name, field in FIELDS.items() if field.metadata["length"]]
CHOICES = [name for name, field in FIELDS.items() if field.metadata["choices"]]
TEXTS = [name for name, field in FIELDS.items() if field.type is str and name not in CHOICES]
REFERENCE = {"batch_size": 256, "g_steps": 2, "lr_g": 2e-4, "lr_d": 2e-4, "d_noise": 0.0, "beta1": 5e-5, "beta2": 0.999}
REFERENCE |= {"z_dim": 100, "g_channels": (256, 64, 32, 16), "d_channels": (16, 32, 64), "g_batch_norm": "first"}
REFERENCE |= {"output_kernel": 32, "iterations": 150_000, "sample_every": 1000, "checkpoint_every": 5000}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_survive_json(preset):
    for changes in ({}, {"lr_g": 0.1, "g_channels": (7,), "seed": 2**63 - 1, "dataset": "ä/b c"}):
        config = Config(preset=preset, **changes)
        again = Config.from_json(json.loads(json.dumps(config.to_json())))
        assert again == config and hash(again) == hash(config) and config.preset == preset


@pytest.mark.parametrize("model", MODELS)
def test_families_have_defaults_of_their_own(model):
    config = Config(model=model)
    assert (config.model, config.preset) == (model, "default")
    assert {name: getattr(config, name) for name in MODELS[model].defaults} == MODELS[model].defaults
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_replace_changes_what_is_named_alone():
    before, after = Config(preset="reference"), Config(preset="reference").replace(batch_size=3)
    assert {**before.to_json(), "batch_size": 3} == after.to_json()
    assert Config(model="mlp").replace(model="dcgan28").batch_size == Config(model="mlp").batch_size


def test_what_is_given_wins_over_the_preset_and_that_over_the_family():
    """The default of dcgan32, given to another family or preset, is a value like any other."""
    usual, config = Config().batch_size, Config(preset="reference")
    assert (config.model, config.image_size) == ("dcgan32", 32) and config.batch_size != usual
    assert Config(preset="reference", model="dcgan32") == config
    for others in ({"preset": "reference"}, {"model": "mlp"}):
        assert Config(**others).batch_size != Config(**others, batch_size=usual).batch_size == usual
    assert Config(preset="reference", batch_size=8).g_steps == config.g_steps == 2


def test_recipes_are_as_published_and_as_people_type_them():
    config = Config(preset="reference").to_json()
    assert {name: config[name] for name in REFERENCE} == REFERENCE and not set(MODELS) & set(PRESETS)
    assert Config(lr_g=2e-4, lr_d=2e-4) == Config(lr_g=2e-4) == Config()


def test_a_config_cannot_be_changed():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    assert config.replace(seed=1).seed == 1 and config.seed == 0
    with pytest.raises(UsageError, match="--seed"):
        config.replace(seed=-1)


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_that_a_record_lacks_has_its_default(name):
    record = Config(preset="reference").to_json()
    del record[name]
    if name in ("preset", "model"):
        with pytest.raises(UsageError, match=name):
            Config.from_json(record)
    else:  # earlier versions cropped
        assert Config.from_json(record) == Config(preset="reference", fit="crop" if name == "fit" else "pad")


@pytest.mark.parametrize("record", [None, [], 1, "text", {}, {"z": 1}, {**Config().to_json(), "colour": "red"}])
def test_other_records_are_refused(record):
    with pytest.raises(UsageError, match=r"config: found|--preset: found None"):
        Config.from_json(record)


def refused(name, value):
    with pytest.raises(UsageError) as caught:
        Config(**{name: value})
    line = str(caught.value)
    assert line.startswith(f"--{name}: found ") and "expected" in one_line(line)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_have_limits(name):
    rule = FIELDS[name].metadata
    kind = FIELDS[name].type
    for good in (rule["low"], rule["high"]):
        assert getattr(Config(**{name: good}), name) == good
    below = rule["low"] - 1 if kind is int else math.nextafter(rule["low"], -1)
    above = rule["high"] + 1 if kind is int else math.nextafter(rule["high"], math.inf)
    for bad in (below, above, math.nan, math.inf, -math.inf, 10**400, "1", None, True, [1], (1,)):
        refused(name, bad)
    if kind is int:
        refused(name, float(rule["low"]))


@pytest.mark.parametrize("name", LISTS)
def test_lists_have_limits(name):
    assert getattr(Config(**{name: (1, 4096)}), name) == (1, 4096)
    for bad in ((), (1,) * 5, (0,), (4097,), (1.0,), ("1",), (True,), ((1,),), [1], 1, None, "1,2"):
        refused(name, bad)


@pytest.mark.parametrize("name", [*CHOICES, *TEXTS])
def test_choices_and_texts_have_a_type(name):
    for bad in (None, 2, ["default"], True, 1.0, b"bytes", "a\0b", *(["", "none of these"] if name in CHOICES else [])):
        refused(name, bad)


def test_what_makes_a_run_another_one():
    assert all(field.metadata["help"].strip() == field.metadata["help"] != "" for field in FIELDS.values())
    identity = {name for name, field in FIELDS.items() if field.metadata["identity"]}
    assert identity >= {"preset", "model", "seed", "z_dim", "g_channels", "d_channels", "g_batch_norm", "output_kernel"}
    assert not identity & {"iterations", "batch_size", "lr_g", "lr_d", "log_every", "max_to_keep", "data_dir"}


def test_folders(tmp_path):
    folders = Folders.of(str(tmp_path), log_dir="elsewhere")
    assert [folder.name for folder in folders] == ["sample_image", "checkpoints", "elsewhere"]
    assert folders.samples.parent == folders.checkpoints.parent == tmp_path
    assert str(Folders.of().samples) == "sample_image"
