"""The flags of opencv_traincascade, understood strictly, as arguments of ``vj-train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vj.errors import ParameterError

# Flag -> our option, or "" for what only steered buffers of the old program.
_FLAGS = {
    "-data": "data",
    "-vec": "vec",
    "-bg": "bg",
    "-numPos": "--positives",
    "-numNeg": "--negatives",
    "-numStages": "--stages",
    "-w": "w",
    "-h": "h",
    "-featureType": "featureType",
    "-mode": "mode",
    "-bt": "--boost",
    "-minHitRate": "--hit-rate",
    "-maxFalseAlarmRate": "--false-alarm",
    "-weightTrimRate": "--trim",
    "-maxDepth": "--depth",
    "-maxWeakCount": "--max-trees",
    "-acceptanceRatioBreakValue": "--target-rate",
    "-numThreads": "--jobs",
    "-stageType": "stageType",
    "-precalcValBufSize": "",
    "-precalcIdxBufSize": "",
}
_DASHES = "\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}\N{HYPHEN}"


def translate(argv: Sequence[str]) -> list[str]:
    """Arguments of ``vj-train`` that mean the same.

    Raises
    ------
    ParameterError
        An unknown flag, a typographic dash, a flag without its value, something that this trainer
        does not make (HOG), or no -data, -vec or -bg.
    """
    given: dict[str, str] = {}
    words = list(argv)
    while words:
        flag = words.pop(0)
        if flag[:1] in _DASHES:
            raise ParameterError(
                f"{flag!r} starts with a typographic dash: write {'-' + flag[1:]!r}"
            )
        if flag == "-baseFormatSave":
            raise ParameterError(
                "-baseFormatSave: the old file format is not written: cv2 reads the new one"
            )
        if flag not in _FLAGS:
            raise ParameterError(f"{flag!r} is no flag of opencv_traincascade")
        if not words or words[0] in _FLAGS:
            raise ParameterError(f"{flag} needs a value")
        given[flag] = words.pop(0)
    for flag in ("-data", "-vec", "-bg"):
        if flag not in given:
            raise ParameterError(f"{flag} is missing")
    kind = given.get("-featureType", "HAAR")
    if kind not in ("HAAR", "LBP"):
        raise ParameterError(f"-featureType {kind}: no detector reads that: use HAAR or LBP")
    if given.get("-stageType", "BOOST") != "BOOST":
        raise ParameterError("-stageType must be BOOST")
    features = given.get("-mode", "BASIC") if kind == "HAAR" else "LBP"
    output = Path(given["-data"]) / "cascade.xml"
    out = [given["-vec"], given["-bg"], "-o", str(output), "--features", features]
    out += ["--window", f"{given.get('-w', '24')}x{given.get('-h', '24')}", "--no-augment"]
    defaults = {
        "-numPos": "2000",
        "-numNeg": "1000",
        "-numStages": "20",
        "-minHitRate": "0.995",
        "-maxFalseAlarmRate": "0.5",
        "-maxWeakCount": "100",
        "-weightTrimRate": "0.95",
    }
    for flag, value in {**defaults, **given}.items():
        option = _FLAGS[flag]
        if option == "--target-rate" and value.startswith("-"):  # OpenCV's default: no break
            continue
        if option.startswith("--"):
            out += [option, value]
    return out
