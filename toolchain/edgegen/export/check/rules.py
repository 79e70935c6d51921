"""The one table of preflight rules. Ids are stable; the hundreds say what a rule is about."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.targets import TargetProfile
from edgegen.export.check import files, fit, numbers, operators, speed
from edgegen.export.check.finding import SEVERITIES, Finding, Look, Rule, Severity, by_running
from edgegen.export.opened import OpenedModel

_MOST_OF_A_RULE = 20  # findings: a model of thousands of nodes would else drown what matters


def _rule(id_: str, severity: Severity, look: Look, title: str, why: str, fix: str) -> Rule:
    return Rule(id=id_, severity=severity, title=title, why=why, fix=fix, look=look)


RULES: Sequence[Rule] = (
    # The file
    _rule(
        "EG101", "error", files.old_opset, "opset too old",
        "operators meant other things before opset 11, and the steps of a recipe are written for later ones",
        "onnx.version_converter.convert_version(model, 17)",
    ),
    _rule(
        "EG102", "error", files.new_opset, "opset too new",
        "the runtime refuses operators of a version that it does not know",
        "export it with an opset that the runtime knows",
    ),
    _rule(
        "EG104", "error", files.open_shape, "open shape",
        "a deployed model takes inputs of one shape: memory and cost are proven for it",
        "give it with --shape NAME=1,3,224,224",
    ),
    _rule(
        "EG105", "error", files.empty_end, "axis of length 0", "there is nothing to infer from",
        "export it with the size that is used",
    ),
    _rule(
        "EG106", "error", files.no_ends, "no input or no output", "there is nothing to prove",
        "export the part that is deployed",
    ),
    _rule(
        "EG107", "error", files.weights_alone, "weights without a network",
        "a state dict does not say what is computed",
        "name the network with [model] module = …, or export it with torch.export or torch.onnx.export",
    ),
    _rule(
        "EG111", "note", files.external, "weights in other files", "they are brought into one file",
        "nothing to do",
    ),
    _rule(
        "EG112", "note", files.unused, "unused tensor", "it takes room and says nothing",
        "the step `rewritten` leaves it out",
    ),
    _rule(
        "EG113", "note", files.quantized, "already quantized", "what is quantized cannot be quantized again",
        "give the float model to have more candidates",
    ),
    _rule(
        "EG114", "note", files.state, "state in and out", "a model with memory is measured over a sequence",
        "--state INPUT=OUTPUT",
    ),
    # Operators
    _rule(
        "EG201", "error", operators.unknown, "operator that the runtime does not have",
        "a session with it cannot be made", "write it with other operators, or export it with an older opset",
    ),
    _rule(
        "EG202", "error", operators.custom, "custom operator", "the device's runtime has no such kernel",
        "write it with the format's own operators",
    ),
    _rule(
        "EG203", "error", operators.types, "operator that the runtime does not have for this type",
        "a session with it cannot be made", "cast to float32 or int32 around it",
    ),
    _rule(
        "EG204", "error", operators.draws, "random operator",
        "the same input must give the same output on every device",
        "make the noise an input of the model and draw it outside",
    ),
    _rule(
        "EG205", "error", operators.training, "training mode", "a deployed model must not vary or learn",
        "export it in evaluation mode: model.eval()",
    ),
    _rule(
        "EG206", "error", operators.ends, "input or output of a type that is no array of numbers",
        "golden vectors and quality are of arrays", "keep sequences, texts and packed types inside or outside of it",
    ),
    _rule(
        "EG207", "error", by_running, "refused by the runtime when it runs",
        "a build runs the model once, with the first sample, and the runtime ends with an error",
        "give samples that the model may see with --evaluate; export it with other operators",
    ),
    _rule(
        "EG208", "error", operators.passed_through, "output that is an input",
        "there is nothing to prove of it", "leave it out, or put an Identity between",
    ),
    _rule(
        "EG211", "warning", operators.data_dependent, "size that depends on data",
        "memory and cost differ from input to input: what is proven holds for the inputs that were measured",
        "leave it to the application, behind the model",
    ),
    _rule(
        "EG212", "error", by_running, "work that cannot be counted",
        "the shapes of a product or convolution depend on values, so nobody knows what an inference costs",
        "export it with fixed shapes",
    ),
    _rule(
        "EG213", "error", operators.uncompiled, "operator that there is no C kernel for",
        "sources for a microcontroller are made of kernels, and there is none for it",
        "write it with other operators, or build for a target with a runtime for files",
    ),
    # Numbers
    _rule(
        "EG301", "error", numbers.not_a_number, "weights that are NaN", "so will the outputs be",
        "train again, or look for the tensor in the exporter",
    ),
    _rule(
        "EG302", "warning", numbers.infinite, "weights that are infinite",
        "a mask of -inf makes the scales of stock quantizers infinite; edgegen keeps such tensors in float",
        "mask with the lowest number that the type has",
    ),
    _rule(
        "EG303", "warning", numbers.doubles, "float64", "kernels are made for float32: twice the bytes, and slow",
        "export it in float32",
    ),
    _rule(
        "EG304", "warning", numbers.halves, "computation in float16",
        "the core has no arithmetic for it, so the runtime converts around every operator",
        "give the float32 model; `float16` as a step halves the file alone",
    ),
    _rule(
        "EG305", "warning", numbers.long_integers, "int64 in LiteRT", "few kernels take it, and none on the fast path",
        "use int32",
    ),
    _rule(
        "EG306", "error", by_running, "output that is NaN or infinite",
        "there is no error of it, and a golden vector of it proves nothing",
        "give samples that the model may see with --evaluate; mask with the lowest number that the type has",
    ),
    # Fit
    _rule(
        "EG401", "unfit", fit.memory, "more memory than the device has", "it cannot be loaded",
        "a smaller model, or fewer bits",
    ),
    _rule(
        "EG402", "unfit", fit.flash, "more bytes than the device's flash", "it cannot be stored",
        "a smaller model, or fewer bits",
    ),
    _rule(
        "EG403", "error", fit.no_runtime, "format that the target does not run", "no runtime of it is had there",
        "export it to a format of the target: edgegen targets NAME",
    ),
    # Speed
    _rule(
        "EG501", "note", speed.transposed, "transposed convolution",
        "stock int8 runs it in float and costs up to 1.6 times the instructions", "the recipe rewritten+static-int8",
    ),
    _rule(
        "EG502", "note", speed.no_dot_product, "dynamic int8 would not pay", "2 to 4.6 times the instructions of float",
        "static-int8 or weight-int8",
    ),
    _rule(
        "EG503", "note", speed.bodies, "bodies stay in float", "quantizers do not look inside If, Loop and Scan",
        "export it without control flow",
    ),
    _rule(
        "EG504", "note", speed.unfolded, "batch norm not folded", "an operator more per layer",
        "the step `rewritten` folds it",
    ),
    _rule(
        "EG505", "note", speed.repeated, "equal weights stored twice", "the file is larger than it has to be",
        "the step `rewritten` shares them",
    ),
)  # fmt: skip


def checked(model: OpenedModel, profile: TargetProfile) -> list[Finding]:
    """What the rules find, the gravest first; at most twenty places a rule."""
    found = []
    for rule in RULES:
        for number, seen in enumerate(rule.look(model, profile)):
            if number == _MOST_OF_A_RULE:
                break
            found.append(
                Finding(
                    rule=rule.id,
                    severity=rule.severity,
                    message=seen.message,
                    where=seen.where,
                    fix=seen.fix or rule.fix,
                )
            )
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
