"""Videos made for a test: a red face that moves over gray."""

from fractions import Fraction

import av
import numpy as np

MS = Fraction(1, 1000)


def face_at(t, size, side=24, speed=4):
    """x, y, w, h of the face in frame t: to and fro."""
    room = size[0] - side - 8
    x = 4 + abs((speed * t + room) % (2 * room) - room)
    return x, size[1] // 2 - side // 2, side, side


def picture(t, size, visible=True, **options):
    image = np.full((size[1], size[0], 3), 110, np.uint8)
    if visible:
        x, y, w, h = face_at(t, size, **options)
        image[y : y + h, x : x + w] = (255, 0, 0)
    return image


def make_clip(
    path,
    times=range(0, 1000, 40),
    size=(128, 72),
    codec="libx264",
    pix_fmt="yuv444p",
    audio=None,
    rotation=0,
    hidden=(),
    options=None,
    noise=False,
    container=None,
    make=None,
    **face,
):
    """Write a clip with frames at ``times`` (milliseconds), and return the path."""
    lossless = {"crf": "0", "preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.options = lossless
        stream.codec_context.time_base = MS
        sound = out.add_stream(audio, rate=22050, layout="mono") if audio else None
        if rotation:
            stream.set_display_rotation(rotation)
        for n, time in enumerate(times):
            image = make(n, size) if make else picture(n, size, n not in hidden, **face)
            if noise:
                image = np.random.default_rng(n).integers(0, 256, image.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(image).reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, MS
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            _add_tone(out, sound, max(times) / 1000)
    return path


def _add_tone(out, sound, seconds):
    rate, n, fmt = 22050, 1024, sound.codec_context.format.name
    wave = np.sin(np.arange(int(rate * seconds) // n * n) * 0.06)
    for i in range(0, len(wave), n):
        part = wave[i : i + n]
        data = part.astype(np.float32) if fmt.startswith("flt") else (part * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(data[None], format=fmt, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, i, Fraction(1, rate)
        out.mux(sound.encode(frame))
    out.mux(sound.encode(None))


def times_of(path):
    """Time stamps of the frames, as fractions."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def images_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets_of(path, kind="audio"):
    """Bytes and times of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(stream) if p.size]
