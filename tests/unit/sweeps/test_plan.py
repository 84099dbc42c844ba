"""The file of a sweep: what follows from it, and what is wrong with it in one line."""

import pytest

from sas_jax.errors import InputError
from sas_jax.sweeps import plan


def read(folder, text):
    path = folder / "rates.toml"
    path.write_text(text)
    return plan.read(path)


def flags(sweep):
    return [(dict(trial.flags), trial.seed) for trial in sweep.trials]


def test_a_grid_is_every_combination_with_every_seed(tmp_path):
    sweep = read(
        tmp_path,
        "seeds = [3, 5]\nmetric = 'macc'\n"
        "[flags]\nepochs = 2\n[flags.train]\nsplit = 'train'\n"
        "[grid]\nlearning_rate = [1e-3, 2e-3]\nteachers = [['a'], ['a', 'b']]\n",
    )
    assert (sweep.name, sweep.metric) == ("rates", "macc")
    fixed = {"epochs": 2, "train.split": "train"}
    assert flags(sweep) == [
        ({**fixed, "learning_rate": rate, "teachers": teachers}, seed)
        for rate in (1e-3, 2e-3)
        for teachers in (["a"], ["a", "b"])
        for seed in (3, 5)
    ]
    assert sweep.trials[2].label == "learning_rate=0.001 teachers=a,b"
    assert "epochs" not in sweep.trials[0].varied


def test_a_table_of_a_stage_is_for_that_stage(tmp_path):
    sweep = read(tmp_path, "[grid.extract_features]\nframe_stride = [1, 4]\n")
    assert [f for f, _ in flags(sweep)] == [
        {"extract_features.frame_stride": 1},
        {"extract_features.frame_stride": 4},
    ]


def test_draws_lie_in_their_range_and_stay_when_there_are_more(tmp_path):
    how = (
        "draw_seed = 7\n[random]\n"
        "learning_rate = {min = 1e-4, max = 1e-2, log = true}\n"
        "ema_alpha = {min = 0.5, max = 1.0}\nepochs = {min = 2, max = 4}\n"
        "arch = ['A', 'B']\n[random.train]\nbatch = {min = 1, max = 64, log = true}\n"
    )
    drawn = [t.flags for t in read(tmp_path, "trials = 40\n" + how).trials]
    assert len(drawn) == 40
    rates = [f["learning_rate"] for f in drawn]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 10 < sum(rate < 1e-3 for rate in rates) < 30  # half, by its logarithm
    assert all(0.5 <= f["ema_alpha"] <= 1 for f in drawn)
    assert {f["epochs"] for f in drawn} == {2, 3, 4}
    assert {f["arch"] for f in drawn} == {"A", "B"}
    assert all(type(f["train.batch"]) is int for f in drawn)
    fewer = [t.flags for t in read(tmp_path, "trials = 5\n" + how).trials]
    assert fewer == drawn[:5]


def test_a_list_names_its_settings(tmp_path):
    sweep = read(
        tmp_path,
        "seeds = [0]\n[[list]]\nname = 'mean'\nstrategy = 'add'\nstudents = []\n"
        "[[list]]\nepochs = 3\n[list.train]\nbranch_from = 'mean'\n"
        "[early_stopping]\nfirst_epoch = 4\n",
    )
    assert [trial.label for trial in sweep.trials] == [
        "mean",
        "epochs=3 train.branch_from=mean",
    ]
    assert sweep.trials[0].flags == {"strategy": "add", "students": []}
    assert sweep.early_stopping == plan.EarlyStopping("loss", 4, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grid = ", "a file of TOML, got Invalid value"),
        ("gird = 1", "a key of flags, seeds, trials"),
        ("seeds = [0]", r"one of \[grid\], \[random\] and \[\[list\]\] is required, "),
        ("[grid]\na=[1]\n[random]\na=[1]", r"got \['grid', 'random'\]"),
        ("[grid]\na=1", "a list of values of grid.a is required, got 1"),
        ("[grid]\na=[]", "a list of values of grid.a is required, got "),
        ("[grid]\na=[1, 1]", "settings that differ, .* got a=1"),
        ("[grid]\nseed=[1, 2]", r"seeds = \[...\] for seeds"),
        ("[grid.train]\nrun=['x']", "no run nor workspace"),
        ("[grid.train.deep]\na=[1]", r"no table within \[grid.train\]"),
        ("seeds=[]\n[grid]\na=[1]", "seeds as distinct whole numbers"),
        ("seeds=[1,1]\n[grid]\na=[1]", "seeds as distinct whole numbers"),
        ("seeds=[true]\n[grid]\na=[1]", "seeds as distinct whole numbers"),
        ("trials=2\n[grid]\na=[1]", r"trials beside \[random\] alone"),
        ("[random]\na=[1]", "trials, how many .* got None"),
        ("trials=1\n[random]\na={min=2,max=1}", "min < max"),
        ("trials=1\n[random]\na={min=0,max=1,log=true}", "min > 0"),
        ("trials=1\n[random]\na={min=0,max=1,step=1}", "a list of values of random.a"),
        ("list = [1]", r"\[\[list\]\] with one table a setting"),
        ("list = []", "at least one setting"),
        ("[[list]]\nname=3", "words as the name of a setting"),
        ("metric=1\n[grid]\na=[1]", "metric as a name"),
        ("[grid]\na=[1]\n[early_stopping]\nepoch=1", r"of \[early_stopping\], a key"),
        (
            "[grid]\na=[1]\n[early_stopping]\nkeep_one_in=1",
            "keep_one_in as a number > 1",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value) and "rates.toml" in str(error.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"--sweep must be a file of TOML, got .*none"):
        plan.read(tmp_path / "none.toml")
