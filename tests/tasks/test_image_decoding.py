from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import image_decoding
from tasks.image_decoding import decode_images

RED = (204, 51, 51)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(image: Image.Image, name: str, **options: object) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_an_image_of_the_right_size_and_mode_is_left_as_it_is(saved: Callable[..., Path]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    decoded = decode_images([saved(Image.fromarray(pixels), "a.png")], 8)
    np.testing.assert_array_equal(decoded.pixels[0], pixels)
    assert (decoded.damaged, decoded.resized) == ({}, ())


@pytest.mark.parametrize(
    ("mode", "name"),
    [("RGB", "a.bmp"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("RGBA", "a.webp")],
)
def test_a_colour_is_the_same_in_every_mode(
    mode: str, name: str, saved: Callable[..., Path]
) -> None:
    image = Image.new("RGB", (8, 8), RED).convert(mode)
    (pixels,) = decode_images([saved(image, name)], 8).pixels
    assert pixels.astype(int) == pytest.approx(np.full((8, 8, 3), RED), abs=6)


def test_greys_of_16_bits_are_not_cut_off(saved: Callable[..., Path]) -> None:
    image = Image.fromarray(np.array([[0, 32_896], [65_535, 257]], np.uint16))
    (pixels,) = decode_images([saved(image, "a.png")], 2).pixels
    assert pixels[..., 0].tolist() == [[0, 128], [255, 1]]


def test_transparent_parts_are_white_and_told(saved: Callable[..., Path]) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    decoded = decode_images([saved(image, "a.png")], 4)
    assert decoded.pixels.min() == 255
    assert decoded.transparent == (0,)


def test_an_image_is_turned_as_its_camera_says(saved: Callable[..., Path]) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    path = saved(Image.fromarray(pixels), "a.jpg", exif=exif, quality=100)
    (turned,) = decode_images([path], 8).pixels
    assert turned[:3].max() < 20
    assert turned[-3:].min() > 235


def test_another_size_is_stretched_and_told(saved: Callable[..., Path]) -> None:
    small = saved(Image.new("L", (3, 9), 77), "a.png")
    fitting = saved(Image.new("L", (6, 6), 77), "b.png")
    decoded = decode_images([small, fitting], 6)
    assert decoded.pixels.shape == (2, 6, 6, 3)
    assert set(decoded.pixels.ravel().tolist()) == {77}
    assert decoded.resized == (0,)


def test_of_several_pictures_the_first_is_taken(saved: Callable[..., Path]) -> None:
    frames = [Image.new("L", (4, 4), grey) for grey in (0, 255)]
    path = saved(frames[0], "a.gif", save_all=True, append_images=frames[1:])
    decoded = decode_images([path], 4)
    assert decoded.pixels.max() == 0
    assert decoded.animated == (0,)


def test_damaged_images_are_named_and_the_others_read(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    good = saved(Image.fromarray(noise), "good.jpg")
    cut, text, empty = (tmp_path / name for name in ("cut.jpg", "text.png", "empty.png"))
    cut.write_bytes(good.read_bytes()[:1000])
    text.write_text("not an image")
    empty.touch()
    decoded = decode_images([cut, good, text, empty], 64)
    assert len(decoded.pixels) == 1
    assert set(decoded.damaged) == {0, 2, 3}
    assert decoded.damaged[2] == "not an image"


def test_an_image_that_would_fill_the_memory_is_damaged(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(Image.new("L", (100, 100)), "bomb.png")
    monkeypatch.setattr(image_decoding, "PIXELS_AT_MOST", 9_999)
    assert "100 x 100 pixels" in decode_images([path], 8).damaged[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    assert "pixels" in decode_images([path], 8).damaged[0]
