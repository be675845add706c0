import contextlib
import io
import struct
import sys
import zlib
from pathlib import Path

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import vj
from vj.errors import ImageError, ParameterError, SinkError, SourceError
from vj.io.images import as_gray, as_rgb, image_format, read_image, sample, write_image

colours = arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 40), st.sampled_from([3, 4]))
)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)


# --------------------------------------------------------------------------- arrays


@settings(deadline=None)
@given(colours)
def test_gray_is_the_naive_sum(color):
    np.testing.assert_array_equal(as_gray(color), naive.weigh_channels(color, (9798, 19235, 3735)))
    np.testing.assert_array_equal(
        as_gray(color, order="BGR"), naive.weigh_channels(color, (3735, 19235, 9798))
    )


def test_gray_is_that_of_opencv_for_every_colour():
    cv2 = pytest.importorskip("cv2")
    steps = np.arange(0, 256, 3, dtype=np.uint8)
    color = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3)
    np.testing.assert_array_equal(as_gray(color), cv2.cvtColor(color, cv2.COLOR_RGB2GRAY))
    np.testing.assert_array_equal(
        as_gray(color, order="BGR"), cv2.cvtColor(color, cv2.COLOR_BGR2GRAY)
    )


def test_any_strides_and_read_only(photo):
    view = photo[::-2, 3:17:3, ::-1]
    view.flags.writeable = False
    expected = naive.weigh_channels(view, (9798, 19235, 3735))
    np.testing.assert_array_equal(as_gray(view), expected)
    gray = as_gray(view[:, :, 0])
    assert gray.flags.c_contiguous
    np.testing.assert_array_equal(gray, view[:, :, 0])


def test_gray_is_not_copied(photo):
    gray = photo[:, :, 0].copy()
    assert as_gray(gray) is gray
    assert np.shares_memory(as_gray(gray[:, :, None]), gray)


def test_pil_images_of_many_modes(photo):
    picture = Image.fromarray(photo)
    np.testing.assert_array_equal(as_gray(picture), as_gray(photo))
    gray = np.asarray(picture.convert("L"))
    np.testing.assert_array_equal(as_gray(picture.convert("L")), gray)
    np.testing.assert_array_equal(as_rgb(picture.convert("CMYK")), photo)
    assert as_gray(picture.convert("1")).max() == 255


def test_rgb(photo):
    assert np.shares_memory(as_rgb(photo), photo)
    np.testing.assert_array_equal(as_rgb(np.dstack([photo, photo[..., :1]])), photo)
    assert (as_rgb(photo[:, :, 1]) == photo[:, :, 1:2]).all()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (None, "`image` is None: the file was not read"),
        (np.zeros((0, 5), np.uint8), r"no pixels: its shape is \(0, 5\)"),
        (np.zeros((4, 0, 3), np.uint8), "no pixels"),
        (np.zeros(5, np.uint8), r"must have shape .*, got \(5,\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"must have shape .*, got \(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 5), np.uint8), "1, 3 or 4 channels in its last axis, got 5"),
        (np.zeros((4, 4, 2), np.uint8), "got 2"),
        (np.zeros((3, 40, 50), np.uint8), r"channels last with .transpose\(1, 2, 0\)"),
        (np.zeros((4, 4)), r"must be uint8, got float64: scale it to 0..255 .* .astype\(np.uint8"),
        (np.zeros((4, 4), bool), r"got bool: multiply it by np.uint8\(255\)"),
        (np.zeros((4, 4), np.uint16), "got uint16: scale"),
        (np.zeros((4, 4), complex), "got complex128"),
        (np.zeros((4, 4), object), "got object"),
        ("photo.jpg", "open a path with vj.read_image"),
        ([[1, 2], [3, 4]], "got int64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("function", [as_gray, as_rgb])
def test_refuses(function, bad, says):
    with pytest.raises(ImageError, match=says):
        function(bad)


def test_messages_use_the_name_of_the_argument():
    with pytest.raises(ImageError, match=r"^`template` must be uint8"):
        as_gray(np.zeros((2, 2)), "template")


# --------------------------------------------------------------------------- reading


def encoded(picture, format_, **options):
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def png(photo, **options):
    return encoded(Image.fromarray(photo), "PNG", **options)


def test_path_bytes_file_object_and_standard_input(photo, tmp_path, monkeypatch):
    path = tmp_path / "фото ☃ 名.png"
    path.write_bytes(png(photo))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png(photo))))
    for source in (path, str(path), png(photo), io.BytesIO(png(photo)), "-"):
        image = read_image(source)
        np.testing.assert_array_equal(image, photo)
        assert image.flags.c_contiguous
        assert image.flags.writeable


def test_gray_stays_gray(photo):
    np.testing.assert_array_equal(read_image(png(photo[:, :, 0])), photo[:, :, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(photo, orientation):
    turned = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 3),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: np.rot90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(png(photo, exif=exif)), turned(photo))


def test_broken_exif_costs_the_orientation_only(photo):
    data = png(photo, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    np.testing.assert_array_equal(read_image(data), photo)


def test_palette_alpha_cmyk_bilevel_and_16_bit(photo):
    picture = Image.fromarray(photo)
    palette = picture.quantize(16)
    np.testing.assert_array_equal(
        read_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )
    clear = picture.copy()
    clear.putalpha(0)
    assert (read_image(encoded(clear, "PNG")) == 255).all()
    opaque = picture.convert("RGBA")
    np.testing.assert_array_equal(read_image(encoded(opaque, "PNG")), photo)
    assert read_image(encoded(picture.convert("CMYK"), "JPEG")).shape == photo.shape
    assert set(np.unique(read_image(encoded(picture.convert("1"), "PNG")))) <= {0, 255}
    wide = photo[:, :, 0].astype(np.uint16) * 256 + 77
    for format_ in ("PNG", "TIFF", "PPM"):
        deep = read_image(encoded(Image.fromarray(wide), format_))
        np.testing.assert_array_equal(deep, photo[:, :, 0])


def test_first_frame_of_an_animation(photo):
    frames = [Image.fromarray(photo[:, :, 0]), Image.fromarray(255 - photo[:, :, 0])]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(as_gray(read_image(data)), photo[:, :, 0])


def bomb(width, height):
    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 100_000])  # Pillow warns of one, refuses the other
def test_decompression_bomb(side):
    with pytest.raises(ImageError, match="decompression bomb looks: if you trust it, raise"):
        read_image(bomb(side, side))


@pytest.mark.filterwarnings("default")
def test_decompression_bomb_without_the_warning_as_an_error():
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ImageError, match="decompression bomb"),
    ):
        read_image(bomb(10_000, 10_000))


def test_the_limit_can_be_raised(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        read_image(png(photo))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(png(photo)).shape == photo.shape


def test_truncated_files(photo, tmp_path):
    for format_ in ("JPEG", "PNG", "GIF", "BMP", "TIFF"):
        data = encoded(Image.fromarray(np.tile(photo, (9, 9, 1))), format_)
        path = tmp_path / f"half.{format_.lower()}"
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageError, match=f"half.{format_.lower()}: (broken|not a) picture"):
            read_image(path)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), format_=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_a_damaged_file_is_read_or_refused_but_nothing_else(data, format_):
    good = bytearray(
        encoded(Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)), format_)
    )
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        assert read_image(bytes(good)).dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"This is text.\n", "not a picture in a format"), (b"", "not a picture in a format")],
)
def test_text_and_nothing_with_the_name_of_a_picture(tmp_path, content, says):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"photo.jpg: {says}"):
        read_image(path)


def test_float_pixels_are_refused():
    with pytest.raises(ImageError, match="holds float pixels: scale it"):
        read_image(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


def test_32_bit_pixels_are_refused():
    with pytest.raises(ImageError, match="holds 32-bit pixels"):
        read_image(encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/no/such/photo.jpg", "/no/such/photo.jpg: cannot read: No such file or directory"),
        ("/", "/: is a folder: name a picture in it"),
        ("a\0b.jpg", "cannot read: embedded null"),
        (17, "no path, bytes or file object: int"),
    ],
)
def test_missing_folder_and_nonsense(source, says):
    with pytest.raises(SourceError, match=says):
        read_image(source)


def test_a_file_object_is_left_open(photo):
    file = io.BytesIO(png(photo))
    read_image(file)
    assert not file.closed


# --------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".PNG", ".ppm"])
@pytest.mark.parametrize("gray", [False, True])
def test_written_and_read_again(photo, tmp_path, suffix, gray):
    image = photo[:, :, 0] if gray else photo[::-1]
    path = tmp_path / f"ß{suffix}"
    write_image(path, image)
    again = read_image(path)
    np.testing.assert_array_equal(as_gray(again) if gray else again, image)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_obey_quality(tmp_path, suffix):
    image = sample()[:200, :200]
    write_image(tmp_path / f"good{suffix}", image)
    write_image(tmp_path / f"small{suffix}", image, quality=20)
    good, small = tmp_path / f"good{suffix}", tmp_path / f"small{suffix}"
    assert small.stat().st_size < good.stat().st_size / 2
    assert np.abs(read_image(good).astype(int) - image).mean() < 3


def test_alpha_is_dropped_where_the_format_has_none(photo, tmp_path):
    write_image(tmp_path / "a.jpg", np.dstack([photo, photo[:, :, 0]]))
    assert read_image(tmp_path / "a.jpg").shape == photo.shape


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.json", "a.psd"])
def test_unknown_suffix(photo, tmp_path, name):
    with pytest.raises(SinkError, match=r"no picture format has the suffix .*: use .jpg or .png"):
        write_image(tmp_path / name, photo)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(photo, read_only):
    with pytest.raises(SinkError, match=r"a\.png: cannot write: "):
        write_image(read_only / "a.png", photo)


def test_disk_full_leaves_nothing(tmp_path, full_disk):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with pytest.raises(SinkError, match=r"a\.png: cannot write: "):
        write_image(tmp_path / "a.png", noise)
    assert not list(tmp_path.iterdir())


def test_picture_too_large_for_the_format(tmp_path):
    with pytest.raises(SinkError, match=r"a\.webp: not written as WEBP: "):
        write_image(tmp_path / "a.webp", np.zeros((1, 20_000), np.uint8))
    assert not list(tmp_path.iterdir())


def test_quality_is_checked(photo, tmp_path):
    with pytest.raises(ParameterError, match="`quality` must be 1 to 100, got 0"):
        write_image(tmp_path / "a.jpg", photo, quality=0)


def test_image_format():
    assert image_format("A.JPG") == "JPEG"
    assert image_format(Path("x.webp")) == "WEBP"
    assert image_format("x.txt") is None


# --------------------------------------------------------------------------- samples


def test_sample():
    skimage_data = pytest.importorskip("skimage.data")
    np.testing.assert_array_equal(vj.sample(), skimage_data.astronaut())
    np.testing.assert_array_equal(vj.sample("camera"), skimage_data.camera())


def test_unknown_sample():
    with pytest.raises(SourceError, match="no sample named 'lena': there are astronaut,"):
        sample("lena")


def test_postscript_is_not_run(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.eps")
    with pytest.raises(ImageError, match=r"a.eps: an EPS file is a program: convert it to PNG"):
        read_image(tmp_path / "a.eps")
