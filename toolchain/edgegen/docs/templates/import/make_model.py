"""Makes the files of this project: a network that scikit-learn trains on its own digits, written as ONNX, and samples.

    python make_model.py        (needs scikit-learn, numpy and onnx)

What it writes lies here already, so that the project builds without scikit-learn: ``digits.onnx``, ``calibration.npz``
(300 of the digits it was trained on) and ``evaluate.npz`` (540 that it has never seen, with their labels).
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
OPSET, IR_VERSION = 17, 9


def main() -> None:
    """Trains, and writes the three files."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)  # (1797, 64), ink of 8 x 8 places, 0 to 16
    known, unseen, known_labels, unseen_labels = train_test_split(
        pixels, labels, test_size=0.3, random_state=0, stratify=labels
    )
    network = MLPClassifier((64, 32), max_iter=300, random_state=0).fit(known / 16, known_labels)
    print(f"accuracy on {len(unseen)} unseen digits: {network.score(unseen / 16, unseen_labels):.4f}")
    onnx.save(to_onnx(network), HERE / "digits.onnx")
    np.savez_compressed(HERE / "calibration.npz", pixels=known[:300])
    expected = {"expected/scores": unseen_labels.astype(np.int64)}
    np.savez_compressed(HERE / "evaluate.npz", pixels=unseen, **expected)


def to_onnx(network: MLPClassifier) -> onnx.ModelProto:
    """The network with its scaling inside: ``pixels`` (batch, 64), 0 to 16, to ``scores`` (batch, 10), before softmax.

    The batch is left open, as exporters do; edgegen takes one sample at a time.
    """
    constants = [numpy_helper.from_array(np.array(1 / 16, np.float32), "scale")]
    nodes = [helper.make_node("Mul", ["pixels", "scale"], ["hidden0"])]
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    for number, (weight, bias) in enumerate(layers, start=1):
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"weight{number}"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"bias{number}"))
        last = number == len(layers)
        given = "scores" if last else f"sum{number}"
        terms = [f"hidden{number - 1}", f"weight{number}", f"bias{number}"]
        nodes.append(helper.make_node("Gemm", terms, [given]))
        if not last:
            nodes.append(helper.make_node("Relu", [given], [f"hidden{number}"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("pixels", 64), ("scores", 10))
    ]
    graph = helper.make_graph(nodes, "digits", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
