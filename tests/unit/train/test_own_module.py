"""A person's own torch module: found, digested, imported, tried, trained; and refused in one paragraph."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.records import write_record
from edgegen.data.dataset import DataSet, Part
from edgegen.train.deployed import load_deployed, load_model
from edgegen.train.families import output_of, read_family
from edgegen.train.loop import train
from edgegen.train.own_module import OWN_MODULE
from edgegen.train.own_source import find_source
from edgegen.train.settings import TrainSettings
from support.datasets import image_form, token_form, vector_form

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.body(x)
"""


def _write(folder, text=NET, name="mymodel.py"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def _settings(folder, *, form=None, output="logits", **table):
    _, settings = read_family("module", {"module": "mymodel:Net", "output": output, **table}, "edgegen.toml")
    return OWN_MODULE.complete(OWN_MODULE.locate(settings, folder), form or vector_form())


def _dataset(form=None):
    random = np.random.Generator(np.random.PCG64(0))
    form = form or vector_form()

    def part(samples):
        x = random.random((samples, *form.shape), dtype=np.float32)
        if form.targets:
            return Part(x=x, y=x[:, : len(form.targets)])
        return Part(x=x, y=random.integers(0, len(form.classes), samples) if form.classes else None)

    return DataSet(form=form, train=part(24), validation=part(0), test=part(8))


def _train(folder, settings, dataset=None):
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return train(
        "module",
        settings,
        TrainSettings(epochs=2, batch_size=8),
        dataset or _dataset(),
        digest="x",
        seed=1,
        folder=out,
        progress=Silent(),
    )


# -- from the folder to a trained model ------------------------------------------------------------------------------


def test_a_classifier_trains_and_comes_back_with_the_same_bits(tmp_path):
    _write(tmp_path)
    settings = _settings(tmp_path, settings={"width": 8})
    record = _train(tmp_path, settings)
    assert record["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
    module, family, found = load_deployed(tmp_path / "out")
    assert (family, found) == ("module", settings)
    assert output_of(OWN_MODULE, found) == "logits"
    assert module(torch.zeros(1, 6)).shape == (1, 3)
    whole, _, _ = load_model(tmp_path / "out")
    assert torch.equal(whole(torch.ones(2, 6)), module(torch.ones(2, 6)))
    draw = OWN_MODULE.draw(settings, 5, 1, part=_dataset().test)
    assert draw.inputs["input"].shape == (5, 6)
    assert draw.targets.shape == (5,)


def test_settings_survive_json(tmp_path):
    _write(tmp_path)
    settings = _settings(tmp_path, settings={"width": 8})
    again = read_family("module", json.loads(json.dumps(write_record(settings))), "x")[1]
    assert OWN_MODULE.complete(again, vector_form()) == settings


REGRESSOR = NET.replace("width, 3", "width, 2")
REDRAW = NET.replace("width, 3", "width, 6")
GENERATOR = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(6, 2)
            self.decoder = nn.Linear(2, 6)

        def deployed(self):
            return self.decoder

        def loss(self, x, y, noise):
            latent = self.encoder(x) + 0.1 * torch.randn(len(x), 2, generator=noise)
            missed = (self.decoder(latent) - x).square().mean()
            return {"loss": missed, "missed": missed.detach()}
"""


@pytest.mark.parametrize(
    ("text", "form", "table", "names"),
    [
        (REGRESSOR, vector_form(classes=0, targets=2), {"output": "values"}, ("input", "values")),
        (REDRAW, vector_form(classes=2), {"output": "reconstruction"}, ("input", "reconstruction")),
        (REDRAW, vector_form(classes=0), {"output": "reconstruction"}, ("input", "reconstruction")),
        (GENERATOR, vector_form(), {"output": "vector", "latent": 2}, ("latent", "sample")),
    ],
)
def test_every_output_has_its_signature_loss_and_draw(tmp_path, text, form, table, names):
    _write(tmp_path, text)
    settings = _settings(tmp_path, form=form, **table)
    (taken,), (given,) = OWN_MODULE.signature(settings)
    assert (taken.name, given.name) == names
    assert set(OWN_MODULE.meaning(settings)) == {taken.name}
    dataset = _dataset(form)
    record = _train(tmp_path, settings, dataset)
    assert np.isfinite(record["final"]["loss"])
    assert ("missed" in record["final"]) == (text == GENERATOR)
    module, _, _ = load_deployed(tmp_path / "out")
    draw = OWN_MODULE.draw(settings, 4, 1, part=dataset.test)
    rows = torch.from_numpy(draw.inputs[taken.name])
    assert rows.shape == (4, *taken.shape[1:])
    assert module(rows).shape == (4, *given.shape[1:])


def test_a_class_that_looks_at_its_weights_while_it_is_made_loads_too(tmp_path):
    _write(
        tmp_path,
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(6, 3)
                self.size = float(self.last.weight.detach().abs().max())
                self.register_buffer("table", torch.arange(6.0), persistent=False)

            def forward(self, x):
                return self.last(x * self.table)
        """,
    )
    settings = _settings(tmp_path)
    _train(tmp_path, settings)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    module, _, _ = load_deployed(tmp_path / "out")
    assert torch.equal(torch.rand(3), expected)  # no random number of the caller's was drawn
    assert module.table.tolist() == [0, 1, 2, 3, 4, 5]


# -- the source ------------------------------------------------------------------------------------------------------


def test_an_edit_anywhere_in_what_is_imported_changes_the_digest_and_the_class(tmp_path):
    _write(tmp_path, NET.replace("from torch import nn", "from torch import nn\nfrom parts.sizes import HIDDEN"))
    _write(tmp_path, "from .more import HIDDEN", "parts/sizes.py")
    _write(tmp_path, "HIDDEN = 4", "parts/more.py")
    _write(tmp_path, "raise SystemExit", "unused.py")
    source = find_source("mymodel:Net", tmp_path)
    assert set(source.files) == {"mymodel", "parts.sizes", "parts.more"}
    first = OWN_MODULE.build(_settings(tmp_path))
    assert type(first).forward.__globals__["HIDDEN"] == 4
    _write(tmp_path, "HIDDEN = 5", "parts/more.py")
    assert find_source("mymodel:Net", tmp_path).digest != source.digest
    second = OWN_MODULE.build(_settings(tmp_path))
    assert type(second).forward.__globals__["HIDDEN"] == 5
    assert type(first).forward.__globals__["HIDDEN"] == 4
    _write(tmp_path, "changed = 1", "unused.py")
    assert find_source("mymodel:Net", tmp_path).digest == _settings(tmp_path).code


def test_two_projects_may_have_a_module_of_the_same_name(tmp_path):
    _write(tmp_path / "a")
    _write(tmp_path / "b", NET.replace("width=4", "width=9"))
    left, right = (_settings(tmp_path / name) for name in "ab")
    assert OWN_MODULE.build(left).body[0].out_features == 4
    assert OWN_MODULE.build(right).body[0].out_features == 9
    assert OWN_MODULE.build(left).body[0].out_features == 4


def test_importing_leaves_path_and_folder_as_they_were(tmp_path):
    _write(tmp_path)
    before = list(sys.path)
    OWN_MODULE.build(_settings(tmp_path))
    assert sys.path == before
    assert [path.name for path in tmp_path.iterdir()] == ["mymodel.py"]


def test_finding_the_source_needs_no_torch_and_runs_nothing(tmp_path):
    _write(tmp_path, "raise SystemExit(9)\n" + NET.strip())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgegen.train.families import read_family\n"
        "family, settings = read_family('module', {'module': 'mymodel:Net', 'output': 'logits'}, 'x')\n"
        "family.locate(settings, Path(sys.argv[1])), family.objectives(settings)\n"
        "sys.exit(bool({'torch', 'numpy', 'mymodel'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False, env=environment).returncode == 0


def test_a_record_on_disk_runs_no_code_that_the_project_does_not_name(tmp_path):
    _write(tmp_path)
    _train(tmp_path, _settings(tmp_path))
    marker = tmp_path / "ran"
    _write(tmp_path, f"open({str(marker)!r}, 'w')\n" + NET, "evil.py")
    path = tmp_path / "out" / "deployed.json"
    record = json.loads(path.read_text())
    for name in ("evil:Net", "os:system", "subprocess:Popen"):
        path.write_text(json.dumps({**record, "settings": {**record["settings"], "module": name}}))
        with pytest.raises(UsageError, match="does not name"):
            load_deployed(tmp_path / "out")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({}, "mymodel", "not the name of a class"),
        ({}, "../mymodel:Net", "not the name of a class"),
        ({}, "mymodel:Net", "not in the project's folder"),
        ({}, "torch.nn:Linear", "not in the project's folder"),
        ({"mymodel.py": "def ("}, "mymodel:Net", r"not Python \(mymodel.py, line 1\)"),
        ({"mymodel.py": "a = '\0'"}, "mymodel:Net", "not Python"),
        ({"mymodel.py": "import deep", "deep.py": "x ="}, "mymodel:Net", r"deep.py, line 1"),
        ({"mymodel.py": "#" * (1 << 20) + "#"}, "mymodel:Net", "too large"),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path, files, name, message):
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(UsageError, match=message):
        find_source(name, tmp_path)


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({"mymodel.py": "Net = 3"}, "mymodel:Net", "no such class"),
        ({"mymodel.py": "class Net: pass"}, "mymodel:Net", "no torch module"),
        ({"mymodel.py": "import no_such_library"}, "mymodel:Net", r"cannot be imported .*mymodel.py, line 1.*no_such"),
        ({"mymodel.py": "\n1 / 0"}, "mymodel:Net", r"mymodel.py, line 2.*ZeroDivisionError"),
        ({"mymodel.py": "class Odd(Exception): pass\nraise Odd('hm')"}, "mymodel:Net", "Odd: hm"),
        ({"mymodel.py": "raise SystemExit(3)"}, "mymodel:Net", "SystemExit"),
        ({"json.py": NET}, "json:Net", "in the way"),
        ({"mymodel.py": "import sys\n" + NET, "sys.py": ""}, "mymodel:Net", "in the way"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused(tmp_path, files, name, message):
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(UsageError, match=message):
        OWN_MODULE.build(_settings(tmp_path, module=name))


# -- the contract ----------------------------------------------------------------------------------------------------


def _class(forward="return self.body(x)", init="", more="", base=NET):
    """The net with another forward, more in its constructor, or more methods."""
    text = base.replace("return self.body(x)", forward)
    text = text.replace("        self.body =", f"        {init}\n        self.body =") if init else text
    return "import torch\nimport random\n" + text + textwrap.indent(textwrap.dedent(more), "    ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_class("return self.body(x), x"), "forward gives no tensor.*tuple of 2"),
        (_class("return {'y': x}"), "forward gives no tensor.*dict of y"),
        (_class("return self.body(x)[:, :2]"), r"another form.*\[2, 2\].*Expected: torch.float32 \[2, 3\]"),
        (_class("return self.body(x).double()"), "another form.*float64"),
        (_class("return self.body(x) / 0"), "not finite"),
        (_class("return self.body(x[:, :5])"), r"forward fails.*mymodel.py, line \d+.*RuntimeError"),
        (_class("return self.body(x) + torch.rand(3)"), "draws random numbers"),
        (_class("return self.body(x) + random.random()"), "draws random numbers"),
        (_class("return self.body(x) - self.body(x).mean(dim=0)"), "depends on the other samples"),
        (_class("return self.body(x) + 0 * torch.rand(3)"), "draws random numbers"),
        (_class(init="self.one = nn.Linear(6, 6); self.two = self.one"), "two names.*one.weight and two.weight"),
        (_class().replace("def forward(self, x)", "def forward(self, x, y)"), "forward fails"),
        (_class(more="def deployed(self):\n    return 3\n"), "no torch module"),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x[:, :3]",
            "nothing to",
        ),
    ],
)
def test_a_module_that_breaks_the_contract_is_refused_before_training(tmp_path, text, message):
    _write(tmp_path, text)
    with pytest.raises(UsageError, match=message):
        _train(tmp_path, _settings(tmp_path))


def test_dropout_is_no_random_operator_of_what_is_deployed(tmp_path):
    _write(tmp_path, _class("return self.body(nn.functional.dropout(x, 0.5, self.training))"))
    _train(tmp_path, _settings(tmp_path))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("def loss(self, x, y, noise):\n    return 3.0\n", UsageError, "loss is not one.*loss: float"),
        ("def loss(self, x, y, noise):\n    return self.body(x)\n", UsageError, "loss is not one"),
        ("def loss(self, x, y, noise):\n    return {'a': x.mean()}\n", UsageError, "loss is not one.*parts a"),
        ("def loss(self, x):\n    return x.mean()\n", BuildError, "cannot reckon its loss.*TypeError"),
        ("def loss(self, x, y, noise):\n    return self.nothing\n", BuildError, r"mymodel.py, line \d+"),
    ],
)
def test_a_loss_that_is_none_is_refused(tmp_path, more, error, message):
    _write(tmp_path, _class(more=more))
    with pytest.raises(error, match=message):
        _train(tmp_path, _settings(tmp_path))


def test_settings_that_the_class_does_not_take_are_refused(tmp_path):
    _write(tmp_path)
    with pytest.raises(UsageError, match=r"cannot be made with .*unexpected keyword argument 'wdith'"):
        OWN_MODULE.build(_settings(tmp_path, settings={"wdith": 3}))


def test_a_generator_needs_a_loss_and_an_image_its_range(tmp_path):
    _write(tmp_path, NET.replace("6, width", "2, width"))
    with pytest.raises(UsageError, match="no loss that fits all"):
        _train(tmp_path, _settings(tmp_path, output="vector", latent=2))
    text = """
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(2, 64)

            def forward(self, latent):
                return 5 + self.last(latent).reshape(-1, 1, 8, 8)

            def loss(self, x, y, noise):
                return self.last.weight.sum()
    """
    _write(tmp_path, text)
    form = image_form(side=8)
    with pytest.raises(UsageError, match=r"out of range.*Expected: 0\.\.1"):
        _train(tmp_path, _settings(tmp_path, form=form, output="image", latent=2), _dataset(form))


@pytest.mark.parametrize(
    ("form", "table"),
    [
        (vector_form(classes=0), {"output": "logits"}),
        (vector_form(), {"output": "values"}),
        (vector_form(), {"output": "image", "latent": 3}),
        (image_form(), {"output": "vector", "latent": 3}),
        (token_form(), {"output": "logits"}),
        (vector_form(), {"output": "reconstruction", "normal": "none of them"}),
        (vector_form(), {"output": "logits", "classes": 5}),
        (vector_form(), {"output": "logits", "latent": 3}),
        (vector_form(), {"output": "vector"}),
        (vector_form(), {"output": "pictures"}),
        (vector_form(), {"output": "logits", "settings": {"when": __import__("datetime").date(2026, 1, 1)}}),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tmp_path, form, table):
    _write(tmp_path)
    with pytest.raises(UsageError):
        _settings(tmp_path, form=form, **table)
