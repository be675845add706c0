import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.detections import Detections
from vj.draw import draw, redact
from vj.errors import ImageError, ParameterError
from vj.io.images import sample

METHODS = ["blur", "pixelate", "solid", "image"]
GREEN = (64, 224, 110)


def stuck(method):
    """A picture for the method that needs one."""
    return (
        np.dstack([np.full((5, 7), v, np.uint8) for v in (1, 2, 3)]) if method == "image" else None
    )


def found(*xyxy, **more):
    return Detections(
        np.array(xyxy, np.float32).reshape(-1, 4), np.full(len(xyxy), 5.25, np.float32), **more
    )


@pytest.fixture(scope="module")
def photo():
    return sample()


wild = st.one_of(st.integers(-50, 250), st.floats(-(2.0**100), 2.0**100, width=32))
wild_boxes = st.lists(st.tuples(wild, wild, wild, wild), max_size=4)

# --------------------------------------------------------------------------- draw


def test_a_frame_stands_around_the_box(photo):
    before = photo.copy()
    out = draw(photo, found([150, 60, 290, 200]), labels=False, width=4)
    changed = (out != photo).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (147, 57, 292, 202)
    assert not changed[70:190, 153:287].any()
    assert not changed[63:197, 160:280].any()
    assert tuple(out[60, 220]) == tuple(out[130, 150]) == GREEN
    np.testing.assert_array_equal(photo, before)


def test_no_detections_give_a_copy(photo):
    out = draw(photo, Detections.empty())
    np.testing.assert_array_equal(out, photo)
    assert not np.shares_memory(out, photo)


def test_gray_becomes_rgb(photo):
    assert draw(photo[:, :, 0], found([10, 10, 50, 50])).shape == photo.shape


@pytest.mark.parametrize("color", ["red", "#ff0000", (255, 0, 0)])
def test_colours(photo, color):
    out = draw(photo, found([150, 60, 290, 200]), color=color, labels=False)
    assert tuple(out[60, 220]) == (255, 0, 0)


def test_each_track_has_its_colour(photo):
    places = [[x, 300, x + 60, 360] for x in (10, 100, 190, 280)]
    out = draw(photo, found(*places, track_id=np.arange(4, dtype=np.int32)), labels=False)
    assert len({tuple(out[330, x]) for x, *_ in places}) == 4


def test_labels_say_track_and_confidence_or_score(photo):
    box = [150, 100, 290, 240]
    label = np.s_[75:98, 148:230]
    number = np.array([7], np.int32)
    sure = np.array([0.97], np.float32)
    pictures = [
        draw(photo, found(box), labels=False)[label],
        draw(photo, found(box))[label],
        draw(photo, found(box, confidence=sure))[label],
        draw(photo, found(box, track_id=number), color=GREEN)[label],
    ]
    for i, a in enumerate(pictures):
        assert all((a != b).any() for b in pictures[:i])


def test_a_label_without_room_above_stays_in_the_picture(photo):
    out = draw(photo, found([100, 0, 240, 140]))
    changed = (out != photo).any(axis=2)
    assert changed[8:20, 110:130].any()


def test_landmarks_are_dots(photo):
    points = np.array([[[200, 110], [240, 110]]], np.float32)
    out = draw(photo, found([150, 60, 290, 200], landmarks=points), labels=False)
    assert tuple(out[110, 200]) == tuple(out[110, 240]) == GREEN
    assert tuple(out[110, 220]) == tuple(photo[110, 220])


def test_the_best_box_is_on_top(photo):
    same = [150, 60, 290, 200]
    out = draw(photo, found(same, same, track_id=np.array([0, 1], np.int32)), labels=False)
    first = draw(photo, found(same, track_id=np.array([0], np.int32)), labels=False)
    assert tuple(out[130, 150]) == tuple(first[130, 150])


@settings(deadline=None, max_examples=60)
@given(wild_boxes, st.tuples(st.integers(1, 200), st.integers(1, 200)))
def test_any_box_on_any_size_can_be_drawn(places, shape):
    image = np.full(shape, 128, np.uint8)
    out = draw(image, found(*places, confidence=np.ones(len(places), np.float32)))
    assert out.shape == (*shape, 3)
    empty = all(x1 >= x2 or y1 >= y2 for x1, y1, x2, y2 in places)
    assert not empty or (out == 128).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "`width` must be at least 1 pixel, got 0"),
        ({"color": "greenish"}, "`color` must be a name, .*, got 'greenish'"),
        ({"color": (1, 2)}, r"got \(1, 2\)"),
        ({"color": (1, 2, 300)}, r"got \(1, 2, 300\)"),
    ],
)
def test_draw_refuses(photo, options, says):
    with pytest.raises(ParameterError, match=says):
        draw(photo, found([1, 1, 9, 9]), **options)


# --------------------------------------------------------------------------- redact


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["rgb", "gray", "rgba"])
def test_only_the_box_changes(photo, method, kind):
    image = {"rgb": photo, "gray": photo[:, :, 0], "rgba": np.dstack([photo, photo[:, :, :1]])}[
        kind
    ]
    before = image.copy()
    out = redact(image, [[150.2, 60, 290, 199.9]], method, picture=stuck(method))
    changed = out != image if image.ndim == 2 else (out != image).any(axis=2)
    assert out.shape == image.shape
    assert changed[60:200, 150:290].mean() > 0.8
    changed[60:200, 150:290] = False
    assert not changed.any()
    np.testing.assert_array_equal(image, before)


def test_a_picture_is_stretched_over_the_box_even_beyond_the_border(photo):
    halves = np.repeat(np.array([[10, 240]], np.uint8), 20, axis=1)  # dark left, light right
    out = redact(photo, [[-100, 50, 100, 90]], "image", picture=halves)
    assert (out[50:90, 8:100] == 240).all()  # of the box only its right half is in view
    inside = redact(photo, [[100, 50, 200, 90]], "image", picture=halves)
    assert (inside[50:90, 100:145] == 10).all()
    assert (inside[50:90, 155:200] == 240).all()


def test_solid_leaves_nothing(photo):
    out = redact(photo, found([150, 60, 290, 200]), "solid", color="#102030")
    assert (out[60:200, 150:290] == (0x10, 0x20, 0x30)).all()
    assert (redact(photo[:, :, 0], [[0, 0, 9, 9]], "solid", color="white")[:9, :9] == 255).all()


def edges(patch):
    """Mean contrast at a distance of a tenth of the patch: eyes, brows and mouth against skin."""
    step = max(1, len(patch) // 10)
    return np.abs(patch[step:].astype(float) - patch[:-step]).mean()


@pytest.mark.parametrize("zoom", [1, 4])
@pytest.mark.parametrize("factor", [1, 0.2])
def test_blur_hides_faces_of_every_size(photo, zoom, factor):
    image = np.kron(photo[::2, ::2, 0], np.ones((zoom, zoom), np.uint8))
    side = int(60 * zoom * factor)
    x, y = 90 * zoom, 45 * zoom
    window = np.s_[y : y + side, x : x + side]
    blurred = redact(image, [[x, y, x + side, y + side]])
    assert edges(blurred[window]) < 0.5 * edges(image[window])


@pytest.mark.parametrize("side", [3, 12, 61, 240])
def test_a_mosaic_has_at_most_six_tiles_a_side(photo, side):
    out = redact(photo, [[100, 50, 100 + side, 50 + side]], "pixelate")
    patch = out[50 : 50 + side, 100 : 100 + side]
    assert len(np.unique(patch.reshape(-1, 3), axis=0)) <= 36
    tiles = 1 + (np.diff(patch.astype(int), axis=1) != 0).any(axis=(0, 2)).sum()
    assert tiles <= 6


def test_faces_at_the_border_are_hidden_as_strongly(photo):
    whole = redact(photo, [[-60, 50, 60, 170]], "pixelate")
    patch = whole[50:170, :60]
    assert len(np.unique(patch.reshape(-1, 3), axis=0)) <= 18


def test_grow_multiplies_the_sides(photo):
    out = redact(photo, [[200, 100, 300, 200]], "solid", grow=1.5)
    ys, xs = np.nonzero((out == 0).all(axis=2) & (photo != 0).any(axis=2))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (175, 75, 324, 224)


def test_an_ellipse_spares_the_corners(photo):
    out = redact(photo, [[100, 50, 200, 250]], "solid", ellipse=True)
    black = (out == 0).all(axis=2)[50:250, 100:200]
    assert abs(black.mean() - np.pi / 4) < 0.01
    np.testing.assert_array_equal(out[50:70, 100:110], photo[50:70, 100:110])


@settings(deadline=None, max_examples=60)
@given(
    wild_boxes,
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.sampled_from(METHODS),
    st.booleans(),
    st.floats(0.1, 3),
)
def test_any_box_can_be_redacted(places, shape, method, ellipse, grow):
    image = np.full(shape, 200, np.uint8)
    picture = stuck(method)
    out = redact(
        image, np.array(places, float).reshape(-1, 4), method, grow, ellipse, "red", picture
    )
    assert out.shape == shape
    if method not in ("solid", "image"):
        assert (out == 200).all()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (([[0, 0, 9, 9]], "mosaic"), ParameterError, "`method` must be one of .*'mosaic'"),
        (([[0, 0, 9, 9]], "blur", 0), ParameterError, "`grow` must be a positive number, got 0"),
        (([[0, 0, 9, 9]], "blur", np.nan), ParameterError, "`grow` must be .* got nan"),
        (([[0, 0, 9, 9]], "image"), ParameterError, "`picture` and the method"),
        (([[0, 0, 9]],), ParameterError, r"`detections` must have shape \(n, 4\)"),
        (([[0, 0, 9, np.nan]],), ParameterError, "not a finite number"),
    ],
)
def test_redact_refuses(photo, arguments, error, says):
    with pytest.raises(error, match=says):
        redact(photo, *arguments)


def test_both_refuse_what_is_no_image():
    with pytest.raises(ImageError, match="must be uint8"):
        draw(np.zeros((4, 4)), found([1, 1, 2, 2]))
    with pytest.raises(ImageError, match="must be uint8"):
        redact(np.zeros((4, 4)), [[1, 1, 2, 2]])
