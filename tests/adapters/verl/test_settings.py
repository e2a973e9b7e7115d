"""The curriculum's settings in verl's configuration. Needs no verl, and a plain mapping no omegaconf."""

import pytest

from didact.adapters.verl.settings import Settings, settings_of

GIVEN = {"method": "mopps", "verifier": "acc", "quotas": {"math": [0.1, 0.5]}, "seed": 3}
READ = Settings(method="mopps", verifier="acc", options={"quotas": {"math": [0.1, 0.5]}, "seed": 3})


def test_what_is_no_setting_of_ours_is_an_option_of_the_method():
    assert settings_of({"curriculum": GIVEN}) == READ
    assert settings_of({"curriculum": {"method": "mopps", "options": 3}}).options == {"options": 3}  # make refuses it


def test_a_configuration_of_omegaconf_is_read_alike():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"curriculum": {**GIVEN, "seed": "${seed}"}, "seed": 3})
    read = settings_of(config)
    assert read == READ
    assert type(read.options["quotas"]) is dict


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (None, ValueError, r"no curriculum was chosen: add \+data.curriculum.method=NAME"),
        ({"seed": 3}, ValueError, "no curriculum was chosen"),
        ("mopps", TypeError, "data.curriculum must hold options by name, got 'mopps'; write data.curriculum.method="),
        ({"method": ["mopps"]}, ValueError, r"'method' of a curriculum must be str, got \['mopps'\]"),
        ({"method": "mopps", "run": 2026}, ValueError, "'run' of a curriculum must be str or nothing, got 2026"),
        ({"method": "mopps", "prompt_id": None}, ValueError, "'prompt_id' of a curriculum must be str, got None"),
    ],
)
def test_what_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        settings_of({"curriculum": given})
