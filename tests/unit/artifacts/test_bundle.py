import json
import stat
from pathlib import Path

import pytest
from example_bundle import MODEL, VERDICTS, contents, write

from edgegen.artifacts.bundle import discard, timeless_verdicts, write_documents, writing_bundle
from edgegen.artifacts.verify import verify
from edgegen.core.errors import BuildError, IntegrityError
from edgegen.core.store import Store


def listing(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_equal_contents_give_equal_bytes_wherever_they_are_written(tmp_path):
    first = write(tmp_path / "a", tmp_path / "work1")
    second = write(tmp_path / "deeper" / "b", tmp_path / "work2")
    assert first == second
    assert listing(tmp_path / "a") == listing(tmp_path / "deeper" / "b")


def test_a_bundle_is_a_layout_of_two_tagged_manifests_the_second_about_the_first(tmp_path):
    written = write(tmp_path / "out", tmp_path / "work")
    index = json.loads((tmp_path / "out/bundle/index.json").read_bytes())
    tags = {item["annotations"]["org.opencontainers.image.ref.name"]: item for item in index["manifests"]}
    assert set(tags) == {"0.1.0", "0.1.0-evidence"}
    assert tags["0.1.0"]["digest"] == written.digest
    assert tags["0.1.0"]["artifactType"] == "application/vnd.edgegen.bundle.v1+json"
    store = Store(tmp_path / "out/bundle")
    evidence = store.find("0.1.0-evidence")
    assert evidence is not None
    assert evidence["subject"]["digest"] == written.digest


def test_the_core_names_every_file_and_the_same_files_lie_beside_it(tmp_path):
    written = write(tmp_path / "out", tmp_path / "work")
    names = [item.path for item in written.files]
    assert names == sorted(names)
    assert {path.name for path in (tmp_path / "out/files").iterdir()} == set(names)
    expected = "golden.json golden.npz manifest.json model.onnx preprocessing.json sbom.cdx.json verdicts.json"
    assert names == expected.split()
    assert (tmp_path / "out/files/model.onnx").read_bytes() == MODEL
    manifest = json.loads((tmp_path / "out/files/manifest.json").read_bytes())
    assert [item["path"] for item in manifest["files"]] == [name for name in names if name != "manifest.json"]
    assert manifest["runtime_version"] == "1.32.0"


def test_a_core_may_hold_a_second_model_file_that_reads_prompts(tmp_path):
    (tmp_path / "second").write_bytes(b"blocks")
    written = write(tmp_path / "out", tmp_path / "work", prefill=tmp_path / "second")
    assert "prefill.onnx" in [item.path for item in written.files]
    assert (tmp_path / "out/files/prefill.onnx").read_bytes() == b"blocks"
    verified = verify(tmp_path / "out/bundle")
    assert verified.digest == written.digest != write(tmp_path / "other", tmp_path / "work").digest
    assert any(clause.startswith("prefill.onnx: 6 bytes") for clause in verified.checked)
    (tmp_path / "out/files/prefill.onnx").write_bytes(b"BLOCKS")
    with pytest.raises(IntegrityError, match="not the bundle's"):
        verify(tmp_path / "out/bundle")
    (tmp_path / "out/files/prefill.onnx").unlink()
    with pytest.raises(IntegrityError, match="other files"):
        verify(tmp_path / "out/bundle")


def test_the_core_holds_no_clock_no_path_and_no_prediction(tmp_path):
    write(tmp_path / "out", tmp_path / "work")
    core = b"".join(path.read_bytes() for path in (tmp_path / "out/files").iterdir())
    assert str(tmp_path).encode() not in core
    assert b"latency_predicted" not in core
    assert b"timestamp" not in core
    assert timeless_verdicts(VERDICTS)["in_evidence"] == ["latency"]
    assert [item["kind"] for item in timeless_verdicts(VERDICTS)["verdicts"]] == ["counted", "quality"]


def test_other_evidence_leaves_the_core_as_it_is(tmp_path):
    digests = []
    for number in range(2):
        with writing_bundle(tmp_path / str(number)) as writer:
            digests.append(writer.add_core(contents(tmp_path / "work")).digest)
            document = {"schema_version": 1, "chosen": {"bundle_digest": digests[-1]}, "run": number}
            writer.add_evidence({"result.json": json.dumps(document).encode()})
        assert verify(tmp_path / str(number) / "bundle").digest == digests[-1]
    assert digests[0] == digests[1]


def test_a_changed_input_changes_the_digest(tmp_path):
    assert write(tmp_path / "a", tmp_path / "w", seeds={"project": 1}) != write(tmp_path / "b", tmp_path / "w")


def test_a_second_build_replaces_the_first_as_a_whole(tmp_path):
    write(tmp_path / "out", tmp_path / "w")
    second = write(tmp_path / "out", tmp_path / "w", version="0.2.0")
    assert verify(tmp_path / "out/bundle").digest == second.digest
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bundle", "files"}


def test_an_error_while_writing_leaves_the_old_bundle_and_nothing_half_written(tmp_path):
    first = write(tmp_path / "out", tmp_path / "w")
    with pytest.raises(RuntimeError, match="add the core first"), writing_bundle(tmp_path / "out") as writer:
        writer.add_evidence({})
    with pytest.raises(BuildError), writing_bundle(tmp_path / "out") as writer:
        writer.add_core(contents(tmp_path / "w", model=tmp_path / "nowhere"))
    assert verify(tmp_path / "out/bundle").digest == first.digest
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bundle", "files"}


def test_discard_removes_bundle_files_and_leftovers_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    write(out, tmp_path / "w")
    (out / ".bundle-killed").mkdir()
    (out / "result.json").write_bytes(b"{}")
    (out / "notes.txt").write_bytes(b"a person's own")
    discard(out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    discard(out)
    discard(tmp_path / "never built")


def test_what_is_handed_over_is_readable_by_others(tmp_path):
    write(tmp_path / "out", tmp_path / "w")
    for path in (tmp_path / "out/bundle", *(tmp_path / "out/bundle").rglob("*"), *(tmp_path / "out/files").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_documents_replace_those_of_an_earlier_build(tmp_path):
    write_documents(tmp_path / "out", {"result.json": b"1", "summary.md": b"old"})
    write_documents(tmp_path / "out", {"result.json": b"2"})
    assert listing(tmp_path / "out") == {"result.json": b"2", "summary.md": b"old"}


def test_a_file_in_the_place_of_the_folder_is_a_build_error(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(BuildError):
        write_documents(tmp_path / "out", {"result.json": b"1"})
